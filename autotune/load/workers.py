"""Many requests, from processes of their own.

A Python event loop that reads a hundred streams shares its one core with everything else its
process does; in processes of their own the streams have the cores to themselves, and the
controller's work (sampling, drawing, storing) cannot delay a stamp. All processes read the same
CLOCK_MONOTONIC.
"""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, replace
from typing import Final, Self

from autotune.clock import Clock
from autotune.load.client import HttpClient
from autotune.load.messages import Job, Part, frame, read_frame, unframe
from autotune.load.prompts import Vocabulary
from autotune.load.runner import summarise
from autotune.seams.requests import (
    LoadPlan,
    LoadResult,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)
from autotune.units import ns_from_s

_STREAMS_PER_PROCESS: Final = 128
_START_DELAY_S: Final = 0.05
_STOP_S: Final = 5.0
_GRACE_S: Final = 30.0
_READY_S: Final = 60.0
_PIPE_LIMIT_BYTES: Final = 1 << 20


class ProcessLoad:
    """Sends loads from worker processes; `async with` ends them.

    Args:
        client: Knows the server; learns its vocabulary; sends single requests itself.
        clock: The machine's.
        processes: How many; None to go by the load, and to take more after a load that the
            client could not carry.
    """

    def __init__(self, client: HttpClient, clock: Clock, *, processes: int | None = None) -> None:
        self._client = client
        self._clock = clock
        self._fixed = processes
        self._at_least = 1
        self._workers: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, plan: LoadPlan) -> LoadResult:
        """Send everything; return when the last request ended. Raises only cancellation."""
        if not plan.requests:
            now_ns = self._clock.now_ns()
            return LoadResult(records=(), start_ns=now_ns, end_ns=now_ns)
        vocabulary = await self._client.vocabulary()
        count = self._count(plan)
        try:
            await self._start(count)
            warm, rest = split_warmup(plan)
            warmed = await self._phase(warm, vocabulary, count) if warm.requests else _Gathered()
            measured = await self._phase(rest, vocabulary, count)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await self.close()
            return _client_died(plan, self._clock.now_ns())
        except asyncio.CancelledError:
            await self.close()  # or they would go on sending
            raise
        result = summarise(
            rest,
            measured.records,
            fallback_ns=self._clock.now_ns(),
            client_cpu_ratio=measured.cpu_ratio,
            loop_lag_p99_ns=measured.loop_lag_p99_ns,
        )
        if result.client_bound is not None and self._fixed is None:
            self._at_least = min(2 * count, _most())
        return replace(
            result,
            records=warmed.records + measured.records,
            client_is_realtime=measured.is_realtime,
        )

    async def close(self) -> None:
        """End the processes."""
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
            if worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.kill()
        for worker in workers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await worker.wait()

    def _count(self, plan: LoadPlan) -> int:
        """How many processes a load gets."""
        if self._fixed is not None:
            return min(self._fixed, len(plan.requests))
        streams = min(plan.concurrency if plan.offsets_ns is None else len(plan.requests),
                      len(plan.requests))  # fmt: skip
        wanted = max(self._at_least, -(-streams // _STREAMS_PER_PROCESS))
        return max(1, min(wanted, _most(), streams))

    async def _start(self, count: int) -> None:
        """Have at least so many processes ready."""
        missing = count - len(self._workers)
        if missing <= 0:
            return
        started = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "autotune.load.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_PIPE_LIMIT_BYTES,
                start_new_session=True,  # the terminal's Ctrl-C is for the controller alone
            )
            for _ in range(missing)
        ]
        self._workers.extend(started)
        async with asyncio.timeout(_READY_S):
            for worker in started:
                await read_frame(_stdout(worker))

    async def _phase(self, plan: LoadPlan, vocabulary: Vocabulary, count: int) -> "_Gathered":
        """Run one plan over `count` processes; they start at one moment."""
        parts = split(plan, count)
        start_ns = self._clock.now_ns() + ns_from_s(_START_DELAY_S)
        for worker, (_, part) in zip(self._workers, parts, strict=False):
            job = Job(
                base_url=self._client.base_url,
                model=self._client.model,
                headers=self._client.headers,
                vocabulary=vocabulary,
                plan=part,
                start_ns=start_ns,
            )
            stdin = worker.stdin
            assert stdin is not None  # noqa: S101 - it was asked for
            stdin.write(frame(job))
            await stdin.drain()
        async with asyncio.timeout(plan.deadline_s + _GRACE_S):
            answers: list[Part] = [
                unframe(await read_frame(_stdout(worker)))
                for worker, _ in zip(self._workers, parts, strict=False)
            ]
        return _gather([indices for indices, _ in parts], answers)


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    records: tuple[RequestRecord, ...] = ()
    cpu_ratio: float | None = None
    loop_lag_p99_ns: int | None = None
    is_realtime: bool | None = None


def split_warmup(plan: LoadPlan) -> tuple[LoadPlan, LoadPlan]:
    """The warm-up of a closed loop as a plan of its own, and the rest; an open loop is one."""
    if plan.offsets_ns is not None:
        return replace(plan, requests=(), offsets_ns=()), plan
    cut = min(plan.warmup_requests, len(plan.requests))
    return (
        replace(plan, requests=plan.requests[:cut], warmup_requests=0),
        replace(plan, requests=plan.requests[cut:], warmup_requests=0),
    )


def split(plan: LoadPlan, count: int) -> list[tuple[range, LoadPlan]]:
    """Deal a plan out to processes, one request each in turn, with its share of concurrency.

    Returns:
        For each process the positions of its requests in the plan, and its own plan.
    """
    total = len(plan.requests)
    streams = min(plan.concurrency, total)
    count = max(1, min(count, streams if plan.offsets_ns is None else total))
    parts = []
    for index in range(count):
        which = range(index, total, count)
        part = replace(
            plan,
            requests=plan.requests[index::count],
            offsets_ns=None if plan.offsets_ns is None else plan.offsets_ns[index::count],
            concurrency=streams // count + (index < streams % count),
            warmup_requests=0,
        )
        parts.append((which, part))
    return parts


def _gather(positions: list[range], answers: list[Part]) -> _Gathered:
    """Records back in the plan's order; the busiest process speaks for all."""
    placed = {
        position: record
        for which, answer in zip(positions, answers, strict=True)
        for position, record in zip(which, answer.records, strict=True)
    }
    lags = [a.loop_lag_p99_ns for a in answers if a.loop_lag_p99_ns is not None]
    return _Gathered(
        records=tuple(placed[position] for position in sorted(placed)),
        cpu_ratio=max((a.cpu_ratio for a in answers), default=None),
        loop_lag_p99_ns=max(lags, default=None),
        is_realtime=all(a.is_realtime for a in answers),
    )


def _client_died(plan: LoadPlan, now_ns: int) -> LoadResult:
    """Our own processes failed: nothing was measured, and the server is not to blame."""
    error = RequestError(kind=RequestErrorKind.TIMEOUT, message="the client's process ended")
    records = tuple(
        RequestRecord(
            request_id=request.request_id,
            scheduled_ns=now_ns,
            sent_ns=now_ns,
            end_ns=now_ns,
            error=error,
        )
        for request in plan.requests
    )
    return LoadResult(
        records=records, start_ns=now_ns, end_ns=now_ns, client_bound="a client process ended"
    )


def _most() -> int:
    """One core is left to the server's front end and the controller."""
    return max(1, (os.cpu_count() or 1) - 1)


def _stdout(worker: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert worker.stdout is not None  # noqa: S101 - it was asked for
    return worker.stdout
