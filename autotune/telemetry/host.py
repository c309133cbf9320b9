"""Memory and processors of the host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from autotune.telemetry.hardware import SHM

_MEMORY_KEYS: Final = (
    "host_memory_used_bytes",
    "host_memory_total_bytes",
    "host_swap_used_bytes",
)
_KEYS: Final = (*_MEMORY_KEYS, "host_memory_pressure_ratio", "host_cpu_ratio", "shm_used_bytes")
PRESSURE: Final = Path("/proc/pressure/memory")


class HostSource:
    """The whole host.

    `used` is total - available, as `free` counts it: what could not be had without swapping.
    The pressure is the kernel's: the share of the last 10 s in which every task that had work
    waited for memory (`full avg10` of pressure stall information, Linux 4.20 and later).
    """

    keys = _KEYS

    def __init__(self, *, shm: Path = SHM, pressure: Path = PRESSURE) -> None:
        self._shm = shm
        self._pressure = pressure
        self._cpu_before = _cpu_seconds()

    async def read(self) -> Mapping[str, float | None]:
        """One look; the processor's share is that since the last one."""
        return {
            **_memory(),
            "host_memory_pressure_ratio": full_pressure_ratio(_read_text(self._pressure)),
            "host_cpu_ratio": self._cpu_ratio(),
            "shm_used_bytes": _used_bytes(self._shm),
        }

    def _cpu_ratio(self) -> float | None:
        """Share of all processors that was busy since the last look; None in the first tick."""
        before, now = self._cpu_before, _cpu_seconds()
        if before is None or now is None or now[1] <= before[1]:
            return None
        self._cpu_before = now
        return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))


def _memory() -> dict[str, float | None]:
    try:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    except (OSError, psutil.Error):
        return dict.fromkeys(_MEMORY_KEYS)
    used, total = memory.total - memory.available, memory.total
    return dict(zip(_MEMORY_KEYS, (float(used), float(total), float(swap.used)), strict=True))


def full_pressure_ratio(text: str) -> float | None:
    """Out of /proc/pressure/memory; None where the kernel does not say.

    The line reads `full avg10=0.12 avg60=0.03 avg300=0.00 total=1234`, in percent.
    """
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] != "full":
            continue
        figures = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        try:
            return float(figures["avg10"]) / 100
        except (KeyError, ValueError):
            return None
    return None


def _cpu_seconds() -> tuple[float, float] | None:
    """Busy and total processor time since boot; guest time is already in user time."""
    try:
        times = psutil.cpu_times()
    except (OSError, psutil.Error):
        return None
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _used_bytes(folder: Path) -> float | None:
    try:
        stats = os.statvfs(folder)
    except OSError:
        return None
    return float((stats.f_blocks - stats.f_bfree) * stats.f_frsize)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
