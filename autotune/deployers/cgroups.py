"""A container's memory cgroup and processes, as this host sees them."""

from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")


def memory_cgroup(
    pid: int, container_id: str, *, proc: Path = PROC, root: Path = CGROUPS
) -> Path | None:
    """Folder of the memory cgroup of a container.

    Lines of /proc/PID/cgroup read `4:memory:/docker/ID` (version 1) or
    `0::/system.slice/docker-ID.scope` (version 2); where both are mounted, version 1 has the
    memory (cgroups(7)).

    Args:
        pid: Of the container's first process, as the Docker engine tells it.
        container_id: Must be in the path: with an engine in another PID namespace or machine
            (Docker Desktop) the number belongs to somebody else here.
        proc: Where proc(5) is mounted.
        root: Where the cgroups are mounted.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return None
    entries = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    legacy = [path for _, names, path in entries if "memory" in names.split(",")]
    unified = [path for number, names, path in entries if number == "0" and not names]
    for base, path, figure in (
        *((root / "memory", path, "memory.usage_in_bytes") for path in legacy),
        *((root, path, "memory.current") for path in unified),
    ):
        folder = base / path.lstrip("/")
        if container_id in path and (folder / figure).is_file():
            return folder
    return None


def cgroup_pids(folder: Path) -> tuple[int, ...]:
    """Every process of a cgroup and of those below it; empty once it is gone."""
    found = set()
    try:
        for listed in folder.rglob("cgroup.procs"):
            found |= {int(line) for line in listed.read_text().split()}
    except (OSError, ValueError):
        return tuple(sorted(found))
    return tuple(sorted(found))
