"""The engine's own host memory and processor time."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from autotune.clock import Clock, MonotonicClock
from autotune.seams.deployment import Deployment
from autotune.units import BYTES_PER_KIB, NS_PER_S

_KEYS: Final = ("engine_memory_bytes", "engine_cpu_ratio")
_PSS_SHARE: Final = 0.02
"""Most of the time that may go into reading PSS: the kernel walks every page for it."""


class EngineMemorySource:
    """Memory and processor time of a deployment.

    Memory is the working set of the container's cgroup where it has one of its own (current use
    less inactive file cache, as the kubelet and `docker stats` count it), else the proportional
    set size (PSS) of its processes, so that pages which they share count once.

    Reading PSS takes the kernel about half a second for 100 GiB, during which the process cannot
    map memory. It is read only so often that it takes 2% of the time; in between, the resident
    size, which costs nothing, is corrected by the last difference.

    Args:
        deployment: The running server.
        clock: For processor time per wall time; not a virtual one.
    """

    keys = _KEYS

    def __init__(
        self, deployment: Deployment, clock: Clock | None = None, *, proc: Path = Path("/proc")
    ) -> None:
        self._deployment = deployment
        self._clock = clock or MonotonicClock()
        self._proc = proc
        self._cpu_before: dict[int, float] = {}
        self._cpu_at_ns: int | None = None
        self._pss_next_ns = 0
        self._pss_less_rss = 0.0
        self._pss_pids: tuple[int, ...] = ()

    async def read(self) -> Mapping[str, float | None]:
        """One look, in a thread; all None once the server is gone."""
        pids = self._deployment.pids()
        cgroup = self._deployment.cgroup()
        return await asyncio.to_thread(self._look, pids, cgroup)

    def _look(self, pids: tuple[int, ...], cgroup: Path | None) -> dict[str, float | None]:
        memory = working_set_bytes(cgroup) if cgroup is not None else None
        if memory is None:
            memory = self._process_memory(pids)
        return {"engine_memory_bytes": memory, "engine_cpu_ratio": self._cpu_ratio(pids)}

    def _process_memory(self, pids: tuple[int, ...]) -> float | None:
        rss = _sum([rss_bytes(pid, self._proc) for pid in pids])
        if rss is None:
            return None
        now_ns = self._clock.now_ns()
        if now_ns >= self._pss_next_ns or pids != self._pss_pids:
            pss = _sum([self._pss_or_rss(pid) for pid in pids])
            took_ns = self._clock.now_ns() - now_ns
            self._pss_next_ns = now_ns + round(took_ns / _PSS_SHARE)
            self._pss_pids = pids
            self._pss_less_rss = 0.0 if pss is None else pss - rss
        return max(0.0, rss + self._pss_less_rss)

    def _pss_or_rss(self, pid: int) -> float | None:
        pss = pss_bytes(pid, self._proc)
        return rss_bytes(pid, self._proc) if pss is None else pss

    def _cpu_ratio(self, pids: tuple[int, ...]) -> float | None:
        """Processor seconds per second since the last look, of processes seen both times."""
        now_ns = self._clock.now_ns()
        now = {pid: used for pid in pids if (used := cpu_seconds(pid, self._proc)) is not None}
        before, at_ns = self._cpu_before, self._cpu_at_ns
        self._cpu_before, self._cpu_at_ns = now, now_ns
        common = now.keys() & before.keys()
        if at_ns is None or now_ns <= at_ns or not common:
            return None
        used = sum(now[pid] - before[pid] for pid in common)
        return max(0.0, used * NS_PER_S / (now_ns - at_ns))


def working_set_bytes(cgroup: Path) -> float | None:
    """A memory cgroup's use less its inactive file cache, version 2 or 1; None if unreadable."""
    for current, inactive in (
        ("memory.current", "inactive_file"),
        ("memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            used = float((cgroup / current).read_text())
            stat = (cgroup / "memory.stat").read_text()
        except (OSError, ValueError):
            continue
        figures = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
        return max(0.0, used - float(figures.get(inactive, 0)))
    return None


def rss_bytes(pid: int, proc: Path = Path("/proc")) -> float | None:
    """Resident pages of a process."""
    try:
        pages = int((proc / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def pss_bytes(pid: int, proc: Path = Path("/proc")) -> float | None:
    """Proportional set size: shared pages divided by their users (Linux 4.14 and later)."""
    try:
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * BYTES_PER_KIB
    except (OSError, ValueError, IndexError):
        pass
    return None


def cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """User and system time of a process (proc(5), stat fields 14 and 15)."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
        fields = text[text.rindex(")") + 2 :].split()
        ticks = int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK")


def _sum(figures: list[float | None]) -> float | None:
    """Sum of what could be read; None if nothing could."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
