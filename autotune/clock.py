"""Time, in one place.

Durations come from `Clock.now_ns`, monotonic; wall time is only a label on a record. The real
clock runs coroutines on an ordinary event loop. The virtual clock runs the very same coroutines
on a loop whose waiting costs nothing: when every task waits, time jumps to the next timer. So a
simulated study goes through the same probes, and gives the same numbers for a seed.
"""

import asyncio
import math
import selectors
import signal
import threading
import time  # noqa: TID251 - the one module that may
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from autotune.units import NS_PER_S, ns_from_s

T = TypeVar("T")


class Clock(Protocol):
    """What the program knows of time."""

    @property
    def is_virtual(self) -> bool:
        """Whether a second of this clock costs no second of anybody's life."""
        ...

    def now_ns(self) -> int:
        """Monotonic nanoseconds from an arbitrary origin."""
        ...

    def suspended_ns(self) -> int:
        """Nanoseconds that the machine has been suspended since it was started."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""
        ...

    def wall(self) -> datetime:
        """Date and time in UTC; for labels, never for durations."""
        ...

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on this clock's event loop.

        Ctrl-C cancels `main`, which may clean up; then `KeyboardInterrupt` is raised. Further
        ones change nothing as long as `main` cleans up: what it has started must not be left.
        """
        ...


class MonotonicClock:
    """The machine's own clock."""

    is_virtual = False

    def now_ns(self) -> int:
        """Nanoseconds of `CLOCK_MONOTONIC`: the same in every process of this machine."""
        return time.monotonic_ns()

    def suspended_ns(self) -> int:
        """By how much `CLOCK_BOOTTIME`, which runs on, is ahead (clock_gettime(2))."""
        boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
        return 0 if boottime is None else time.clock_gettime_ns(boottime) - time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)

    def wall(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run on an ordinary event loop."""
        return _run(asyncio.Runner(), main)


class _JumpingSelector(selectors.SelectSelector):
    """Never waits for a timer: reports the time that would have passed instead."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll; if nothing is ready and a timer is due later, jump to it.

        With no timer at all (`timeout` is None) only a thread or a signal can wake the loop, so
        it really waits for one, a second at a time so that a signal is never missed.
        """
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(1.0)
        self._advance(timeout)
        return ready


class _VirtualEventLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: "VirtualClock") -> None:
        self._virtual_clock = clock
        super().__init__(_JumpingSelector(clock.advance))

    def time(self) -> float:
        now_s = self._virtual_clock.now_ns() / NS_PER_S
        # asyncio runs timers that are due before time() + resolution. After 194 virtual days a
        # nanosecond is under half a float's last digit, and a timer due now would never run.
        self._clock_resolution = max(1e-9, math.ulp(now_s))
        return now_s


class VirtualClock:
    """A clock that jumps from timer to timer.

    Args:
        wall_origin: What the wall shows at virtual time 0.
    """

    is_virtual = True

    def __init__(self, wall_origin: datetime | None = None) -> None:
        self._now_ns = 0
        self._wall_origin = wall_origin or datetime.now(UTC)

    def now_ns(self) -> int:
        """Virtual nanoseconds since this clock was made."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass; rounds up, so that a timer is due once its time has come."""
        self._now_ns += max(0, ns_from_s(seconds)) + 1

    def suspended_ns(self) -> int:
        """Never."""
        return 0

    async def sleep(self, seconds: float) -> None:
        """Wait so many virtual seconds."""
        await asyncio.sleep(seconds)

    def wall(self) -> datetime:
        """The origin plus the virtual time that has passed."""
        return self._wall_origin + timedelta(microseconds=self._now_ns / 1000)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run on a loop whose timers cost nothing."""
        return _run(asyncio.Runner(loop_factory=lambda: _VirtualEventLoop(self)), main)


def _run(runner: asyncio.Runner, main: Coroutine[Any, Any, T]) -> T:
    """`runner.run`, with a Ctrl-C that counts once until the runner is closed.

    The runner's own second one raises `KeyboardInterrupt` wherever the program is, also where it
    stops a server, or where closing waits for a thread that removes a container.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler \
            or threading.current_thread() is not threading.main_thread():  # fmt: skip
        with runner:
            return runner.run(main)
    once = _CancelOnce(runner.get_loop())
    signal.signal(signal.SIGINT, once.interrupted)
    try:
        with runner:
            result = runner.run(once.watched(main))
    except asyncio.CancelledError:
        if once.is_interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if once.came_late:
        raise KeyboardInterrupt
    return result


class _CancelOnce:
    """Cancels a coroutine at the first interrupt.

    Attributes:
        came_late: The interrupt found the coroutine at its end already, while the loop was closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_interrupted = False
        self.came_late = False
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None

    async def watched(self, main: Coroutine[Any, Any, T]) -> T:
        """The coroutine as a task that can be cancelled, also before its first step."""
        self._task = asyncio.current_task()
        if self.is_interrupted:
            main.close()
            raise asyncio.CancelledError
        return await main

    def interrupted(self, _number: int, _frame: Any) -> None:
        """What the signal does; the loop, which may be waiting, is woken."""
        if self.is_interrupted:
            return
        self.is_interrupted = True
        if self._task is None:
            return
        self.came_late = self._task.done()
        if not self.came_late:
            self._task.cancel()
            self._loop.call_soon_threadsafe(lambda: None)
