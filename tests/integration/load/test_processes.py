"""Worker processes: ended when done, replaced by a marked result when they die."""

import asyncio
import os
import signal
from typing import Any

import psutil
import pytest

from autotune.clock import MonotonicClock
from autotune.load.client import HttpClient
from autotune.load.priority import realtime
from autotune.load.workers import ProcessLoad
from autotune.seams.requests import GenerationRequest, LoadPlan, Prompt, Segment
from tests.support.golden import Golden, golden_server

CLOCK = MonotonicClock()


def plan(count: int, output: int) -> LoadPlan:
    """So many requests, all at once."""
    return LoadPlan(
        requests=tuple(
            GenerationRequest(
                request_id=str(i), prompt=Prompt(segments=(Segment(i, 20),)), max_tokens=output
            )
            for i in range(count)
        ),
        concurrency=count,
    )


def streams(golden: Golden) -> list[dict[str, Any]]:
    """What the server knows of the loads' own requests."""
    return [row for row in golden.seen() if row["request_id"]]


def workers() -> list[psutil.Process]:
    """Worker processes of this one."""
    return [
        child
        for child in psutil.Process().children()
        if any("autotune.load.worker" in argument for argument in child.cmdline())
    ]


def test_no_worker_outlives_the_load() -> None:
    """Leaving the context ends every process, also when cancelled in the middle of a load."""

    async def main(golden: Golden) -> None:
        client = HttpClient(base_url=golden.base_url, model="golden", clock=CLOCK)
        async with client, ProcessLoad(client, CLOCK, processes=2) as load:
            await load.run(plan(4, 2))
            assert len(workers()) == 2
            running = asyncio.create_task(load.run(plan(4, 100_000)))
            while not any(row["sends_ns"] for row in streams(golden)[4:]):
                await CLOCK.sleep(0.02)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert workers() == []

    with golden_server(ttft_ms=0, itl_ms=5) as golden:
        CLOCK.run(main(golden))

    assert workers() == []


def test_a_worker_has_real_time_priority_during_a_load_and_no_longer() -> None:
    """Where this process may have it at all; the result says whether it was so."""

    async def main(golden: Golden) -> tuple[list[int], bool | None]:
        client = HttpClient(base_url=golden.base_url, model="golden", clock=CLOCK)
        async with client, ProcessLoad(client, CLOCK, processes=1) as load:
            running = asyncio.create_task(load.run(plan(2, 100)))
            while not any(row["sends_ns"] for row in streams(golden)):
                await CLOCK.sleep(0.01)
            (worker,) = workers()
            during = os.sched_getscheduler(worker.pid)
            result = await running
            after = os.sched_getscheduler(worker.pid)
            return [during, after], result.client_is_realtime

    with golden_server(ttft_ms=0, itl_ms=5) as golden:
        policies, is_realtime = CLOCK.run(main(golden))

    with realtime() as is_allowed:
        pass
    assert is_realtime is is_allowed
    assert policies == [os.SCHED_RR if is_allowed else os.SCHED_OTHER, os.SCHED_OTHER]


def test_the_terminals_ctrl_c_does_not_reach_a_worker() -> None:
    """It would print a traceback over the view; the controller ends it instead."""

    async def main(golden: Golden) -> None:
        client = HttpClient(base_url=golden.base_url, model="golden", clock=CLOCK)
        async with client, ProcessLoad(client, CLOCK, processes=1) as load:
            await load.run(plan(2, 2))
            (worker,) = workers()
            assert os.getpgid(worker.pid) != os.getpgrp()

    with golden_server(ttft_ms=0, itl_ms=5) as golden:
        CLOCK.run(main(golden))


def test_a_worker_that_dies_marks_the_load_as_the_clients_fault() -> None:
    """Its requests are failed, and the reason names the client: the server is not to blame."""

    async def main(golden: Golden) -> None:
        client = HttpClient(base_url=golden.base_url, model="golden", clock=CLOCK)
        async with client, ProcessLoad(client, CLOCK, processes=1) as load:
            await load.run(plan(1, 2))
            running = asyncio.create_task(load.run(plan(2, 100_000)))
            while not any(row["sends_ns"] for row in streams(golden)[1:]):
                await CLOCK.sleep(0.02)
            os.kill(workers()[0].pid, signal.SIGKILL)
            result = await running
            assert result.client_bound is not None
            assert len(result.records) == 2
            assert all(record.error is not None for record in result.records)
            again = await load.run(plan(3, 2))
            assert [record.error for record in again.records] == [None] * 3

    with golden_server(ttft_ms=0, itl_ms=5) as golden:
        CLOCK.run(main(golden))
