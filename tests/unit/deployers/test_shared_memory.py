"""What a deployment left in shared memory, and nobody else's."""

import mmap
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.deployers.shared_memory import SHM, ShmFile, listing, sweep, used_files

HOLDER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 4096)
if sys.argv[2] == "mapped":
    os.close(fd)
print("up")
input()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in shared memory."""
    folder = SHM / f"autotune-test-{uuid.uuid4().hex}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def make(folder: Path, name: str) -> Path:
    """A file of one page."""
    path = folder / name
    path.write_bytes(bytes(4096))
    return path


OFFLOAD = "vllm_offload_ab12.mmap"


def test_an_offload_that_nobody_uses_goes(folder: Path) -> None:
    """What an engine left whose processes died before anybody looked is removed and named."""
    before = listing(folder)
    make(folder, OFFLOAD)
    assert sweep(before, folder=folder) == (OFFLOAD,)
    assert list(folder.iterdir()) == []


def test_what_was_there_before_stays(folder: Path) -> None:
    """A file that is older than the deployment is not its own, whatever its name."""
    make(folder, OFFLOAD)
    everything = listing(folder)
    assert sweep(everything, everything, folder=folder) == ()
    assert [path.name for path in folder.iterdir()] == [OFFLOAD]


def test_a_name_that_was_used_again_is_another_file(folder: Path) -> None:
    """The same name with another inode is new."""
    old = make(folder, OFFLOAD)
    before = listing(folder)
    kept = old.rename(folder / "other")  # so that its inode is not given again
    make(folder, OFFLOAD)
    assert sweep(before, folder=folder) == (OFFLOAD,)
    assert kept.exists()


@pytest.mark.parametrize("name", ["my-model.safetensors", "psm_1a2b3c", "sem.mp-x1", "torch_1_2"])
def test_a_strangers_file_stays(folder: Path, name: str) -> None:
    """A new file that the deployment was not seen to use is somebody else's."""
    before = listing(folder)
    make(folder, name)
    assert sweep(before, folder=folder) == ()


def test_a_file_that_was_seen_in_use_goes(folder: Path) -> None:
    """Any new file goes that the deployment's own processes had in use."""
    before = listing(folder)
    make(folder, "psm_1a2b3c")
    seen = listing(folder)
    make(folder, "psm_4d5e6f")
    assert sweep(before, seen, folder=folder) == ("psm_1a2b3c",)


def test_a_link_and_a_folder_stay(folder: Path, tmp_path: Path) -> None:
    """Only plain files go: a link may lead anywhere."""
    before = listing(folder)
    target = tmp_path / "target"
    target.write_text("precious")
    (folder / OFFLOAD).symlink_to(target)
    assert sweep(before, listing(folder), folder=folder) == ()
    assert target.read_text() == "precious"


@pytest.mark.parametrize("how", ["mapped", "open"])
def test_what_somebody_uses_stays(folder: Path, how: str) -> None:
    """A file that a living process has mapped or open is left until that process is gone."""
    before = listing(folder)
    path = make(folder, OFFLOAD)
    with subprocess.Popen(
        [sys.executable, "-uc", HOLDER, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        assert used_files([holder.pid], folder) == listing(folder)
        assert sweep(before, folder=folder) == ()
        holder.kill()
    assert sweep(before, folder=folder) == (OFFLOAD,)


def test_use_by_this_process_is_seen(folder: Path) -> None:
    """Mappings are found by device and inode, not by name."""
    path = make(folder, "x")
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 4096)
    make(folder, "y")
    assert used_files([os.getpid()], folder) == {ShmFile("x", path.stat().st_ino)}
    memory.close()
    assert used_files([os.getpid()], folder) == frozenset()


def test_no_shared_memory_at_all(tmp_path: Path) -> None:
    """A host without the folder has nothing to sweep."""
    assert listing(tmp_path / "none") == frozenset()
    assert used_files([os.getpid()], tmp_path / "none") == frozenset()
    assert sweep(frozenset(), folder=tmp_path / "none") == ()
