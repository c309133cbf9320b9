"""Cleaning up to the end."""

import asyncio

import pytest

from autotune.clock import VirtualClock
from autotune.deployers.patience import to_the_end


def test_work_is_done_however_often_it_is_cancelled() -> None:
    """Cancelling the caller twice neither ends the work nor is forgotten."""
    clock = VirtualClock()
    done: list[float] = []

    async def work() -> None:
        await clock.sleep(5.0)
        done.append(clock.now_ns() / 1e9)

    async def main() -> None:
        task = asyncio.create_task(to_the_end(work()))
        for _ in range(2):
            await clock.sleep(1.0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    clock.run(main())
    assert done == [pytest.approx(5.0)]


def test_the_result_and_the_failure_come_out() -> None:
    """Without a cancellation it is an ordinary call."""

    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise LookupError

    clock = VirtualClock()
    assert clock.run(to_the_end(answer())) == 42
    with pytest.raises(LookupError):
        clock.run(to_the_end(fail()))
