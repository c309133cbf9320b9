"""Files that an engine leaves in /dev/shm.

vLLM's KV offload lies in /dev/shm/vllm_offload_<instance>.mmap since 0.28; an engine core that
is killed cannot remove it, and it holds the memory until somebody does. A container's /dev/shm
is private and goes with it; this is for processes.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from autotune.deployers.processes import PROC

SHM: Final = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory
OFFLOAD_PATTERN: Final = "vllm_offload_*"
"""Goes even if nobody saw who used it, for its users may all have died at once: without a living
user it is garbage. Other names (psm_, torch_, sem.) say nothing of whose a file is."""


@dataclass(frozen=True, order=True)
class ShmFile:
    """A file for all time: a name may be used again, with another inode."""

    name: str
    inode: int


def listing(folder: Path = SHM) -> frozenset[ShmFile]:
    """Every file there."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(ShmFile(entry.name, entry.inode()) for entry in entries)
    except OSError:
        return frozenset()


def used_files(pids: Iterable[int], folder: Path = SHM) -> frozenset[ShmFile]:
    """Files there which some of these processes have mapped or open."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return frozenset()
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}"
    inodes: set[int] = set()
    for pid in pids:
        inodes |= _mapped(pid, wanted) | _open(pid, device)
    return frozenset(file for file in listing(folder) if file.inode in inodes)


def sweep(
    before: frozenset[ShmFile], seen: frozenset[ShmFile] = frozenset(), folder: Path = SHM
) -> tuple[str, ...]:
    """Remove what a deployment left.

    A file goes only if it was not there before the deployment, belongs to this user, was seen in
    use by the deployment's processes or is a KV offload, and no process that runs has it mapped
    or open.

    Args:
        before: What was there before the start.
        seen: What the deployment's processes used.
        folder: Where.

    Returns:
        Names of what was removed.
    """
    candidates = [
        file
        for file in listing(folder) - before
        if (file in seen or fnmatch(file.name, OFFLOAD_PATTERN)) and _is_own(folder / file.name)
    ]
    if not candidates:
        return ()
    used = used_files(_everybody(), folder)
    removed = []
    for file in sorted(set(candidates) - used):
        with suppress(OSError):
            (folder / file.name).unlink()
            removed.append(file.name)
    return tuple(removed)


def _everybody() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]


def _is_own(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()


def _mapped(pid: int, device: str) -> set[int]:
    """Inodes in /proc/PID/maps: address perms offset dev inode path."""
    found = set()
    with suppress(OSError), (PROC / str(pid) / "maps").open(errors="replace") as lines:
        for line in lines:
            fields = line.split(maxsplit=5)
            if len(fields) >= 5 and fields[3] == device and fields[4] != "0":
                found.add(int(fields[4]))
    return found


def _open(pid: int, device: int) -> set[int]:
    found = set()
    with suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                status = link.stat()
                if status.st_dev == device:
                    found.add(status.st_ino)
    return found
