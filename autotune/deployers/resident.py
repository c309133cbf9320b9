"""Memory of a set of processes, as cheaply as a limit allows."""

import os
from collections.abc import Iterable
from contextlib import suppress

from autotune.deployers.processes import PROC, ProcessId
from autotune.units import BYTES_PER_KIB


def resident_bytes(processes: Iterable[ProcessId], enough: int) -> int:
    """Host memory of some processes; exact only where it matters.

    The resident sizes count shared pages once per process, so their sum is never too small. Only
    where it exceeds `enough` is the proportional set size read, for which the kernel walks every
    page (smaps_rollup, Linux 4.14).
    """
    pids = [process.pid for process in processes]
    resident = sum(_resident(pid) for pid in pids)
    if resident <= enough:
        return resident
    return sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        pages = (PROC / str(pid) / "statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _proportional(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * BYTES_PER_KIB
    return _resident(pid)
