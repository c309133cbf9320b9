"""The machine as found at the start of a study."""

import hashlib
import os
import platform
from pathlib import Path

import psutil

from autotune.seams.telemetry import Hardware
from autotune.telemetry.nvml import read_gpus

SHM = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory, not a place for temporary files


MACHINE_ID = Path("/etc/machine-id")


def detect_hardware() -> Hardware:
    """Look at GPUs, processors, memory and shared memory of this machine."""
    return Hardware(
        gpus=read_gpus(),
        cpu_count=len(os.sched_getaffinity(0)),
        host_memory_bytes=int(psutil.virtual_memory().total),
        shm_bytes=shm_size_bytes(),
        is_wsl=is_wsl(platform.release()),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        host=host_id(),
    )


def host_id(machine_id: Path = MACHINE_ID) -> str:
    """Twelve hexadecimal digits that tell this machine from others and name it to nobody.

    A digest of the machine's id, which must not be told itself (machine-id(5)), and of the host's
    name where there is none (in many containers).
    """
    try:
        found = machine_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        found = ""
    return hashlib.sha256(f"autotune {found or platform.node()}".encode()).hexdigest()[:12]


def shm_size_bytes(folder: Path = SHM) -> int:
    """Size of the shared memory file system, 0 where there is none."""
    try:
        stats = os.statvfs(folder)
    except OSError:
        return 0
    return stats.f_blocks * stats.f_frsize


def is_wsl(kernel_release: str) -> bool:
    """Whether a kernel is that of the Windows Subsystem for Linux.

    Its releases read like 5.15.167.4-microsoft-standard-WSL2.
    """
    return "microsoft" in kernel_release.lower()
