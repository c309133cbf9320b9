"""Many requests, in this process: a closed loop or an open one.

The code is the same under the machine's clock with the HTTP client and under the virtual clock
with a simulated one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from autotune.clock import Clock
from autotune.load.formulas import percentile
from autotune.load.selfcheck import client_bound
from autotune.seams.requests import (
    GenerationRequest,
    LoadPlan,
    LoadResult,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)
from autotune.units import s_from_ns


class Generating(Protocol):
    """The part of a client that a load needs."""

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Send and follow one request to its end. Raises nothing but cancellation."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A client that has something to do before a load."""

    async def prepare(self, requests: Sequence[GenerationRequest], connections: int) -> None:
        """Get ready for these requests, so many of them at once."""
        ...


@dataclass(kw_only=True)
class _Progress:
    """What is known of a load while it runs: by position in the plan."""

    records: dict[int, RequestRecord] = field(default_factory=dict)
    due_ns: dict[int, int] = field(default_factory=dict)


class InProcessLoad:
    """Sends a load from this process.

    Args:
        client: Sends single requests.
        clock: Stamps and paces.
    """

    def __init__(self, client: Generating, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def run(self, plan: LoadPlan) -> LoadResult:
        """Send everything; return when the last request ended. Raises only cancellation."""
        if isinstance(self._client, Preparing):
            await self._client.prepare(plan.requests, min(plan.concurrency, len(plan.requests)))
        progress = _Progress()
        start_ns = self._clock.now_ns()
        try:
            async with asyncio.timeout(plan.deadline_s):
                await self._send(plan, progress)
        except TimeoutError:
            pass  # what is missing is marked below
        records = self._complete(plan, progress)
        return summarise(plan, records, fallback_ns=start_ns)

    async def _send(self, plan: LoadPlan, progress: _Progress) -> None:
        warmup = range(min(plan.warmup_requests, len(plan.requests)))
        rest = range(len(warmup), len(plan.requests))
        if plan.offsets_ns is None:
            await self._closed(plan, warmup, progress)
            await self._closed(plan, rest, progress)
        else:
            await self._open(plan, plan.offsets_ns, progress)

    async def _closed(self, plan: LoadPlan, which: range, progress: _Progress) -> None:
        """Keep `concurrency` requests in flight until all of `which` have ended."""
        waiting = iter(which)

        async def lane() -> None:
            # A request is due the moment the one before it ended: what the client takes to see
            # that and to send the next is its own lag.
            due_ns = self._clock.now_ns()
            for index in waiting:
                ended_ns = await self._one(plan.requests[index], index, due_ns, progress)
                due_ns = ended_ns or self._clock.now_ns()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(plan.concurrency, len(which))):
                group.create_task(lane())

    async def _open(self, plan: LoadPlan, offsets_ns: Sequence[int], progress: _Progress) -> None:
        """Send each request at its time, whatever became of those before."""
        start_ns = self._clock.now_ns()
        async with asyncio.TaskGroup() as group:
            for index, (request, offset_ns) in enumerate(
                zip(plan.requests, offsets_ns, strict=True)
            ):
                due_ns = start_ns + offset_ns
                wait_ns = due_ns - self._clock.now_ns()
                if wait_ns > 0:
                    await self._clock.sleep(s_from_ns(wait_ns))
                group.create_task(self._one(request, index, due_ns, progress))

    async def _one(
        self, request: GenerationRequest, index: int, due_ns: int, progress: _Progress
    ) -> int:
        """Send one request; when it ended."""
        progress.due_ns[index] = due_ns
        record = await self._client.generate(request, scheduled_ns=due_ns)
        progress.records[index] = record
        return record.end_ns

    def _complete(self, plan: LoadPlan, progress: _Progress) -> tuple[RequestRecord, ...]:
        """Records in order of the plan; what the deadline cut off is an error as well."""
        now_ns = self._clock.now_ns()
        return tuple(
            progress.records.get(index)
            or _cut_off(request, progress.due_ns.get(index), now_ns, plan.deadline_s)
            for index, request in enumerate(plan.requests)
        )


def _cut_off(
    request: GenerationRequest, due_ns: int | None, now_ns: int, deadline_s: float
) -> RequestRecord:
    what = "not sent" if due_ns is None else "not ended"
    at_ns = now_ns if due_ns is None else due_ns
    return RequestRecord(
        request_id=request.request_id,
        scheduled_ns=at_ns,
        sent_ns=at_ns,
        end_ns=now_ns,
        error=RequestError(
            kind=RequestErrorKind.TIMEOUT,
            message=f"{what} when the load's {deadline_s:g} s were up",
        ),
    )


def summarise(
    plan: LoadPlan,
    records: tuple[RequestRecord, ...],
    *,
    fallback_ns: int,
    client_cpu_ratio: float | None = None,
    loop_lag_p99_ns: int | None = None,
) -> LoadResult:
    """A load's result, with the verdict on the client itself."""
    lags = [r.sent_ns - r.scheduled_ns for r in records]
    lag_ns = round(percentile(lags, 99)) if lags else None
    return LoadResult(
        records=records,
        start_ns=min((r.sent_ns for r in records), default=fallback_ns),
        end_ns=max((r.end_ns for r in records), default=fallback_ns),
        schedule_lag_p99_ns=lag_ns,
        client_cpu_ratio=client_cpu_ratio,
        client_bound=client_bound(
            plan,
            records,
            lag_p99_ns=lag_ns,
            cpu_ratio=client_cpu_ratio,
            loop_lag_p99_ns=loop_lag_p99_ns,
        ),
    )
