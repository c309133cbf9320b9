"""Real and virtual time give the same coroutines the same order."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from autotune.clock import Clock, MonotonicClock, VirtualClock
from autotune.units import NS_PER_S

YEAR_S = 365 * 24 * 3600.0


@pytest.fixture(params=[MonotonicClock, VirtualClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    """Each clock in turn."""
    made: Clock = request.param()
    return made


def test_a_year_of_waiting_costs_nothing() -> None:
    """Virtual time jumps: the suite would time out otherwise."""
    clock = VirtualClock()
    clock.run(clock.sleep(YEAR_S))
    assert clock.now_ns() == pytest.approx(YEAR_S * NS_PER_S, rel=1e-9)


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whatever the order in which they were started, each wakes at its own time."""
    clock = VirtualClock()
    woken: list[tuple[float, int]] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now_ns()))

    async def main() -> None:
        await asyncio.gather(*(sleeper(s) for s in (3.0, 0.001, 2.0, 86400.0, 0.5)))

    clock.run(main())
    assert [seconds for seconds, _ in woken] == [0.001, 0.5, 2.0, 3.0, 86400.0]
    for seconds, at_ns in woken:
        assert at_ns == pytest.approx(seconds * NS_PER_S, abs=100)


def test_ties_are_broken_the_same_way_each_time() -> None:
    """A seed gives the same study: who wakes first among equals is not left to chance."""

    def once() -> list[int]:
        clock = VirtualClock()
        woken: list[int] = []

        async def sleeper(index: int) -> None:
            await clock.sleep(1.0)
            woken.append(index)

        async def main() -> None:
            await asyncio.gather(*(sleeper(i) for i in range(50)))

        clock.run(main())
        return woken

    assert once() == once()
    assert sorted(once()) == list(range(50))


def test_virtual_time_stands_still_while_code_runs() -> None:
    """Work between two waits takes no virtual time, nor does yielding."""
    clock = VirtualClock()

    async def main() -> tuple[int, int]:
        before = clock.now_ns()
        for _ in range(1000):
            await asyncio.sleep(0)
        return before, clock.now_ns()

    before, after = clock.run(main())
    assert before == after


def test_timeouts_are_in_virtual_time() -> None:
    """`asyncio.timeout` of an hour fires at the hour and costs nothing."""
    clock = VirtualClock()

    async def main() -> None:
        async with asyncio.timeout(3600):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.now_ns() == pytest.approx(3600 * NS_PER_S, abs=1000)


def test_a_timer_is_due_once_its_time_has_come() -> None:
    """A thousand short sleeps add up and never stall on a rounded nanosecond."""
    clock = VirtualClock()

    async def main() -> None:
        for _ in range(1000):
            await clock.sleep(1 / 3)

    clock.run(main())
    assert clock.now_ns() >= 1000 / 3 * NS_PER_S - 1000
    assert clock.now_ns() == pytest.approx(1000 / 3 * NS_PER_S, rel=1e-6)


def test_a_thread_can_wake_the_virtual_loop() -> None:
    """With no timer pending the loop really waits: a thread's result arrives, and time stands."""
    clock = VirtualClock()

    async def main() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert clock.run(main()) != threading.current_thread().name
    assert clock.now_ns() == 0


def test_one_virtual_clock_runs_on() -> None:
    """A second run goes on where the first one ended."""
    clock = VirtualClock()
    clock.run(clock.sleep(10))
    first = clock.now_ns()
    clock.run(clock.sleep(10))
    assert clock.now_ns() == pytest.approx(2 * first, abs=1000)


def test_the_virtual_wall_moves_with_virtual_time() -> None:
    """Labels of simulated trials are as far apart as the trials."""
    origin = datetime(2030, 1, 1, tzinfo=UTC)
    clock = VirtualClock(origin)
    clock.run(clock.sleep(90))
    assert clock.wall() - origin == pytest.approx(timedelta(seconds=90), abs=timedelta(seconds=1))


def test_the_real_clock_is_monotonic_and_its_wall_is_utc() -> None:
    """A later look is never earlier."""
    clock = MonotonicClock()
    looks = [clock.now_ns() for _ in range(100)]
    clock.run(clock.sleep(0))
    assert looks == sorted(looks)
    assert clock.now_ns() >= looks[-1]
    assert clock.wall().utcoffset() == timedelta(0)


def test_both_clocks_say_what_they_are() -> None:
    """Code that would block asks before it does."""
    assert VirtualClock().is_virtual
    assert not MonotonicClock().is_virtual


def test_a_clock_hands_back_results_and_errors(clock: Clock) -> None:
    """What a coroutine returns or raises comes out of `run`."""

    async def good() -> int:
        await clock.sleep(0)
        return 7

    async def bad() -> None:
        await clock.sleep(0)
        raise LookupError

    assert clock.run(good()) == 7
    with pytest.raises(LookupError):
        clock.run(bad())


def test_ctrl_c_cancels_and_lets_clean_up(clock: Clock) -> None:
    """The coroutine sees a cancellation, may await while it cleans up; then Ctrl-C is raised."""
    cleaned: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await clock.sleep(0)
            cleaned.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        clock.run(main())
    assert cleaned == ["cleaned"]


def test_further_ctrl_c_do_not_break_off_the_cleaning_up(clock: Clock) -> None:
    """An impatient user must not leave a server with the GPU."""
    cleaned: list[str] = []

    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await clock.sleep(60)
        finally:
            for step in ("asked to end", "ended", "removed"):
                signal.raise_signal(signal.SIGINT)
                await clock.sleep(0.001)
                cleaned.append(step)

    with pytest.raises(KeyboardInterrupt):
        clock.run(work())
    assert cleaned == ["asked to end", "ended", "removed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_that_cleans_up_is_waited_for_however_often_ctrl_c_is_pressed() -> None:
    """A look into an image, say: the thread removes its container while the loop is closed."""
    closing, gone = threading.Event(), threading.Event()
    done: list[str] = []

    def look() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert closing.wait(30)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        done.append("left behind" if gone.wait(0.2) else "container removed")

    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:  # the loop ends generators that are left when it is closed
            closing.set()

    async def main() -> None:
        left.append(ticks())
        await anext(left[0])
        await asyncio.to_thread(look)

    left: list[AsyncIterator[int]] = []
    with pytest.raises(KeyboardInterrupt):
        MonotonicClock().run(main())
    gone.set()
    assert done == ["container removed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_ctrl_c_at_the_very_end_is_not_lost(clock: Clock) -> None:
    """The coroutine is done, its loop is being closed: what follows must not begin."""

    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            signal.raise_signal(signal.SIGINT)

    async def main() -> str:
        left.append(ticks())
        await anext(left[0])
        return "done"

    left: list[AsyncIterator[int]] = []
    with pytest.raises(KeyboardInterrupt):
        clock.run(main())


def test_a_cancellation_that_is_not_ctrl_c_is_told_as_one(clock: Clock) -> None:
    """Only the user's own interrupt ends the program with 130."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        clock.run(work())
