"""Processes of this machine, named so that a reused number is never mistaken for an old one."""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autotune.clock import Clock
from autotune.units import ns_from_s

PROC: Final = Path("/proc")
_POLL_S: Final = 0.05
_KILL_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, order=True)
class ProcessId:
    """A process for all time: its number and its start in clock ticks since boot."""

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says of a process (proc(5))."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start_ticks: int

    @property
    def process(self) -> ProcessId:
        """Its name for all time."""
        return ProcessId(self.pid, self.start_ticks)

    @property
    def is_running(self) -> bool:
        """Whether it is more than an entry that nobody has read yet (a zombie)."""
        return self.state not in {"Z", "X", "x"}


def read_stat(pid: int) -> Stat | None:
    """Look at one process; None if it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return _parsed(pid, text)


def all_stats() -> dict[int, Stat]:
    """Every process of this PID namespace."""
    found = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - every second beside a measurement: lean
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            found[stat.pid] = stat
    return found


def is_running(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    stat = read_stat(process.pid)
    return stat is not None and stat.is_running and stat.process == process


def descendants(roots: Iterable[int], stats: Mapping[int, Stat]) -> set[int]:
    """Children of some processes, theirs, and so on; without the processes themselves."""
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where it cannot be read.

    A program that sets its title overwrites this memory (setproctitle, and so vLLM's engine
    core), so what is not found here may still be ours.
    """
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (part.partition("=") for part in raw.decode("utf-8", "replace").split("\0"))
    return {key: value for key, separator, value in pairs if separator}


def send(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal to this very process; nothing happens if it is gone.

    Through a handle on the process (pidfd, Linux 5.3): between the check and the signal its
    number cannot pass to somebody else.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_running(process):
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone in between, or not ours to end: the caller sees that it still runs
    finally:
        os.close(handle)


async def end_all(
    members: Callable[[], set[ProcessId]], *, clock: Clock, grace_s: float
) -> frozenset[ProcessId]:
    """End processes: ask with SIGTERM, after the grace insist with SIGKILL.

    Args:
        members: Who is to end and still runs; asked again and again, for they may fork.
        clock: A real one.
        grace_s: Time between asking and insisting.

    Returns:
        Those that still run 10 s after SIGKILL (they wait for a device or are not ours to end).
    """
    if grace_s > 0:
        for process in members():
            send(process, signal.SIGTERM)
        if not await _while_any(members, clock, grace_s, lambda _process: None):
            return frozenset()
    left = await _while_any(
        members, clock, _KILL_TIMEOUT_S, lambda process: send(process, signal.SIGKILL)
    )
    return frozenset(left)


async def _while_any(
    members: Callable[[], set[ProcessId]],
    clock: Clock,
    timeout_s: float,
    act: Callable[[ProcessId], None],
) -> set[ProcessId]:
    deadline_ns = clock.now_ns() + ns_from_s(timeout_s)
    while left := members():
        for process in left:
            act(process)
        if clock.now_ns() >= deadline_ns:
            break
        await clock.sleep(_POLL_S)
    return left


def _parsed(pid: int, text: str) -> Stat | None:
    # The name in parentheses may hold anything, spaces and parentheses included.
    fields = text[text.rfind(")") + 2 :].split()
    try:
        return Stat(
            pid=pid,
            state=fields[0],
            parent=int(fields[1]),
            group=int(fields[2]),
            session=int(fields[3]),
            start_ticks=int(fields[19]),
        )
    except (IndexError, ValueError):
        return None
