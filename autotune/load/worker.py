"""A client process: takes parts of loads on stdin, gives their records on stdout.

Started by `workers.ProcessLoad` as `python -m autotune.load.worker`. Imports are few, for it is
started while a trial waits.
"""

import asyncio
import gc
import resource
import sys
from typing import BinaryIO, Final

from autotune.clock import Clock, MonotonicClock
from autotune.load.formulas import percentile
from autotune.load.messages import LENGTH, Job, Part, frame, unframe
from autotune.load.priority import realtime
from autotune.load.runner import InProcessLoad
from autotune.load.streaming import StreamingClient
from autotune.seams.requests import (
    GenerationRequest,
    RequestRecord,
)
from autotune.units import s_from_ns

_HEARTBEAT_S: Final = 0.01


class WorkerClient(StreamingClient):
    """The client of a worker: streams only."""

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """See `runner.Generating`."""
        return await self.stream(request, scheduled_ns=scheduled_ns)


async def work(job: Job, clock: Clock) -> Part:
    """Run one part and watch oneself."""
    client = WorkerClient(
        base_url=job.base_url,
        model=job.model,
        clock=clock,
        vocabulary=job.vocabulary,
        headers=job.headers,
    )
    await client.prepare(job.plan.requests, min(len(job.plan.requests), job.plan.concurrency))
    await clock.sleep(max(0.0, s_from_ns(job.start_ns - clock.now_ns())))
    lags: list[int] = []
    heartbeat = asyncio.create_task(_watch_loop(clock, lags))
    cpu_s, wall_ns = _cpu_s(), clock.now_ns()
    gc.collect()
    gc.disable()  # a collection would stop the loop for milliseconds, and the load is bounded
    try:
        with realtime() as is_realtime:
            result = await InProcessLoad(client, clock).run(job.plan)
    finally:
        gc.enable()
        heartbeat.cancel()
        client.close_connections()
    elapsed_s = max(s_from_ns(clock.now_ns() - wall_ns), 1e-9)
    return Part(
        records=result.records,
        cpu_ratio=(_cpu_s() - cpu_s) / elapsed_s,
        loop_lag_p99_ns=round(percentile(lags, 99)) if lags else None,
        is_realtime=is_realtime,
    )


async def _watch_loop(clock: Clock, lags: list[int]) -> None:
    """Note how late the event loop comes: so late are its stamps."""
    while True:
        due_ns = clock.now_ns() + round(_HEARTBEAT_S * 1e9)
        await clock.sleep(_HEARTBEAT_S)
        lags.append(max(0, clock.now_ns() - due_ns))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _read_blocking(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def main() -> None:
    """Work until the parent closes the pipe."""
    clock = MonotonicClock()
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may write into the pipe
    out.write(frame("ready"))
    out.flush()
    while (body := _read_blocking(sys.stdin.buffer)) is not None:
        out.write(frame(clock.run(work(unframe(body), clock))))
        out.flush()


if __name__ == "__main__":
    main()
