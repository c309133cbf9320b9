"""The long form of the fault tests, in short: `python -m benchmarks.reliability.run`.

Each part is a process of its own, as a user runs it: it forks controllers and kills them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.figures

ROOT = Path(__file__).resolve().parents[3]

PARTS = {
    "study-kills": ("study-kills", "--kills", "2"),
    "damage": ("damage", "--cases", "6"),
    "fuzz": ("fuzz", "--minutes", "0.02"),
    "secrets": ("secrets", "--deployers", "process"),
    "hostile": ("hostile",),
    "full-disks": ("full-disks", "--disks", "1"),
    "engine-kills": ("engine-kills-process", "--engine-kills", "1"),
    "engine-faults": ("engine-faults-process", "--only", "dies", "hangs", "leaks"),
    "hogs": ("hogs-process", "--hogs", "2"),
    "clock-jumps": ("clock-jumps", "--jumped", "4"),
    "kernel-oom": ("kernel-oom", "--hogs", "1"),
}
STANDING_STILL = {
    "freezes": ("engine-faults-process", "--only", "freezes"),
    "stops": ("stops-process", "--stops", "6"),  # fewer may all fall where they spoil nothing
}
IN_CONTAINERS = {
    "secrets": ("secrets", "--deployers", "docker"),
    "engine-kills": ("engine-kills-docker", "--engine-kills", "1"),
    "engine-faults": (
        "engine-faults-docker", "--only",
        "dies", "hangs", "freezes", "fills-shm", "floods", "restarts",
    ),
    "hogs": ("hogs-docker", "--hogs", "2"),
    "stops": ("stops-docker", "--stops", "6"),
}  # fmt: skip


def check(tmp_path: Path, *arguments: str) -> None:
    """Run a part; no promise is broken."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability.run", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    if "not run" in ended.stdout:
        pytest.skip(ended.stdout)
    assert "; 0 broken;" in ended.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_no_promise_is_broken(part: str, tmp_path: Path) -> None:
    """With simulated studies and with servers that are processes."""
    check(tmp_path, *PARTS[part])


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", STANDING_STILL)
def test_no_promise_is_broken_by_who_stands_still(part: str, tmp_path: Path) -> None:
    """A server or a controller that is stopped, longer than its waits are."""
    check(tmp_path, *STANDING_STILL[part])


@pytest.mark.docker
@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", IN_CONTAINERS)
def test_no_promise_is_broken_in_containers(part: str, tmp_path: Path) -> None:
    """With servers in containers."""
    check(tmp_path, *IN_CONTAINERS[part])


@pytest.mark.docker
@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_no_promise_is_broken_by_a_docker_engine(tmp_path: Path) -> None:
    """With an engine of its own that is stopped, killed, frozen and hidden."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd to start a Docker engine of its own")
    check(tmp_path, "docker-faults")
