"""Closed and open loops under the virtual clock, on a server of known pace."""

import asyncio
from collections.abc import Sequence

import pytest

from autotune.clock import VirtualClock
from autotune.load.runner import InProcessLoad
from autotune.seams.requests import (
    GenerationRequest,
    LoadPlan,
    LoadResult,
    Prompt,
    RequestErrorKind,
    RequestRecord,
)

NS = 1_000_000_000


class Server:
    """Answers each request after one second; knows how many it had at once."""

    def __init__(self, clock: VirtualClock, *, prepared_for: list[int] | None = None) -> None:
        self.clock = clock
        self.at_once = self.most_at_once = 0
        self.order: list[str] = []

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        sent_ns = self.clock.now_ns()
        self.order.append(request.request_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.clock.sleep(1.0)
        finally:
            self.at_once -= 1
        return RequestRecord(
            request_id=request.request_id,
            scheduled_ns=sent_ns if scheduled_ns is None else scheduled_ns,
            sent_ns=sent_ns,
            end_ns=self.clock.now_ns(),
        )


def requests(count: int) -> tuple[GenerationRequest, ...]:
    """So many requests, named by their number."""
    return tuple(
        GenerationRequest(request_id=str(i), prompt=Prompt(text="x"), max_tokens=1)
        for i in range(count)
    )


def run(plan: LoadPlan) -> tuple[LoadResult, Server]:
    """Run a plan on a fresh server under a virtual clock."""
    clock = VirtualClock()
    server = Server(clock)
    return clock.run(InProcessLoad(server, clock).run(plan)), server


def test_a_closed_loop_keeps_its_concurrency() -> None:
    """Ten requests, three at a time, one second each: four seconds, in the plan's order."""
    result, server = run(LoadPlan(requests=requests(10), concurrency=3))

    assert server.most_at_once == 3
    assert (result.end_ns - result.start_ns) / NS == pytest.approx(4, abs=1e-3)
    assert [str(i) for i in range(10)] == [r.request_id for r in result.records]
    assert [str(i) for i in range(10)] == server.order


def test_more_streams_than_requests_are_no_trouble() -> None:
    """Concurrency beyond the load is the load."""
    result, server = run(LoadPlan(requests=requests(2), concurrency=100))

    assert server.most_at_once == 2
    assert len(result.records) == 2


def test_the_warm_up_of_a_closed_loop_ends_before_the_rest_begins() -> None:
    """Warm-up requests are all answered before the first measured one leaves."""
    result, _ = run(LoadPlan(requests=requests(6), concurrency=4, warmup_requests=2))
    warm, rest = result.records[:2], result.records[2:]

    assert max(r.end_ns for r in warm) <= min(r.sent_ns for r in rest)


def test_an_open_loop_sends_at_its_times_whatever_is_pending() -> None:
    """Requests leave at their offsets though none has been answered."""
    offsets = (0, NS // 10, NS // 5, NS // 2)
    result, server = run(LoadPlan(requests=requests(4), offsets_ns=offsets))

    start = result.records[0].scheduled_ns
    assert offsets == tuple(r.scheduled_ns - start for r in result.records)
    assert all(0 <= r.sent_ns - r.scheduled_ns < 1000 for r in result.records)
    assert server.most_at_once == 4
    assert result.client_bound is None


def test_the_deadline_cuts_off_what_runs_and_what_waits() -> None:
    """After 1.5 s one wave of two is done; two were cut off and one was never sent."""
    result, server = run(LoadPlan(requests=requests(5), concurrency=2, deadline_s=1.5))
    errors = [r.error for r in result.records]

    assert errors[:2] == [None, None]
    assert all(e is not None and e.kind is RequestErrorKind.TIMEOUT for e in errors[2:])
    assert [e.message.split(" when")[0] for e in errors[2:] if e is not None] == [
        "not ended",
        "not ended",
        "not sent",
    ]
    assert server.at_once == 0


def test_cancelling_a_load_leaves_no_request_behind() -> None:
    """Cancellation reaches every request that is in flight, and is passed on."""
    clock = VirtualClock()
    server = Server(clock)

    async def main() -> None:
        load = asyncio.create_task(
            InProcessLoad(server, clock).run(LoadPlan(requests=requests(9), concurrency=9))
        )
        await clock.sleep(0.5)
        assert server.at_once == 9
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load

    clock.run(main())

    assert server.at_once == 0


def test_an_empty_load_has_no_records() -> None:
    """Nothing to send ends at once."""
    result, _ = run(LoadPlan(requests=()))

    assert result.records == ()
    assert result.schedule_lag_p99_ns is None


def test_a_client_that_prepares_is_told_for_how_many() -> None:
    """Connections are opened before the load, as many as it will have at once."""
    clock = VirtualClock()
    told: list[tuple[int, int]] = []

    class Preparing(Server):
        async def prepare(self, requests: Sequence[GenerationRequest], connections: int) -> None:
            told.append((len(requests), connections))

    clock.run(
        InProcessLoad(Preparing(clock), clock).run(LoadPlan(requests=requests(5), concurrency=3))
    )

    assert told == [(5, 3)]
