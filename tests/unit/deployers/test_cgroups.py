"""Finding a container's cgroup in proc, as kernels of both versions show it."""

from pathlib import Path

import pytest

from autotune.deployers.cgroups import cgroup_pids, memory_cgroup

ID = "27d4fbfa0e3eabd827b65a04b3da2e76939bd0802ff6043589572eb5d826d06e"

LEGACY = f"""\
9:name=systemd:/docker/{ID}
5:cpu,cpuacct:/docker/{ID}
4:memory:/docker/{ID}
0::/system.slice/containerd.service
"""
UNIFIED = f"0::/system.slice/docker-{ID}.scope\n"


def host(root: Path, text: str, folder: str, figure: str) -> tuple[Path, Path]:
    """A proc with one process, 42, and a cgroup file system with one group."""
    (root / "proc" / "42").mkdir(parents=True)
    (root / "proc" / "42" / "cgroup").write_text(text)
    group = root / "cgroup" / folder
    group.mkdir(parents=True)
    (group / figure).write_text("1\n")
    return root / "proc", root / "cgroup"


@pytest.mark.parametrize(
    ("text", "folder", "figure"),
    [
        (LEGACY, f"memory/docker/{ID}", "memory.usage_in_bytes"),
        (UNIFIED, f"system.slice/docker-{ID}.scope", "memory.current"),
    ],
)
def test_both_versions(tmp_path: Path, text: str, folder: str, figure: str) -> None:
    """The folder is the one in which the kernel shows the memory in use."""
    proc, root = host(tmp_path, text, folder, figure)
    assert memory_cgroup(42, ID, proc=proc, root=root) == root / folder


def test_somebody_elses_process(tmp_path: Path) -> None:
    """A number that belongs to another container, or to none, gives no cgroup."""
    proc, root = host(tmp_path, UNIFIED, f"system.slice/docker-{ID}.scope", "memory.current")
    assert memory_cgroup(42, "f" * 64, proc=proc, root=root) is None
    assert memory_cgroup(43, ID, proc=proc, root=root) is None


def test_a_cgroup_that_cannot_be_seen(tmp_path: Path) -> None:
    """Inside a container of its own the controller sees the path and not the folder."""
    proc, root = host(tmp_path, f"0::/../docker-{ID}.scope\n", "other", "memory.current")
    assert memory_cgroup(42, ID, proc=proc, root=root) is None


def test_processes_of_a_cgroup_and_below(tmp_path: Path) -> None:
    """Every process counts once; a group that is gone has none."""
    (tmp_path / "cgroup.procs").write_text("30\n7\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "cgroup.procs").write_text("8\n30\n")
    assert cgroup_pids(tmp_path) == (7, 8, 30)
    assert cgroup_pids(tmp_path / "gone") == ()
