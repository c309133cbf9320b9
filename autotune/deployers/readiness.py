"""The wait for a server to become healthy: a race against its death and the time allowed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from autotune.clock import Clock
from autotune.seams.deployment import Deployment, ExitEvidence
from autotune.units import ns_from_s, s_from_ns


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The server answered; `healthy_ns` is when the answer was seen, on the clock given."""

    healthy_ns: int


@dataclass(frozen=True, kw_only=True)
class Died:
    """The server ended before it was healthy."""

    exit: ExitEvidence


@dataclass(frozen=True, kw_only=True)
class TimedOut:
    """The server runs and was not healthy in time."""

    after_s: float


async def wait_ready(
    deployment: Deployment,
    is_healthy: Callable[[], Awaitable[bool]],
    *,
    clock: Clock,
    timeout_s: float,
    poll_s: float = 0.25,
) -> Ready | Died | TimedOut:
    """Ask again and again until the server is healthy, dead, or out of time.

    The time runs from `deployment.started_ns`. Death wins over a healthy answer seen at the same
    moment: somebody else may be answering on that port. A question that hangs is cut off by
    death or by the time-out.

    Args:
        deployment: The server.
        is_healthy: One question; False for any answer but "healthy". What it raises is raised.
        clock: That of `deployment.started_ns`.
        timeout_s: From the start of the server.
        poll_s: Pause between two questions.
    """
    deadline_ns = deployment.started_ns + ns_from_s(timeout_s)
    exited = asyncio.ensure_future(deployment.wait_exit())
    asking = asyncio.ensure_future(_ask(is_healthy, clock, poll_s))
    try:
        await asyncio.wait(
            {exited, asking},
            timeout=max(0.0, s_from_ns(deadline_ns - clock.now_ns())),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if exited.done():
            return Died(exit=exited.result())
        if asking.done():
            return Ready(healthy_ns=asking.result())
        return TimedOut(after_s=s_from_ns(clock.now_ns() - deployment.started_ns))
    finally:
        exited.cancel()
        asking.cancel()
        await asyncio.gather(exited, asking, return_exceptions=True)


async def _ask(is_healthy: Callable[[], Awaitable[bool]], clock: Clock, poll_s: float) -> int:
    while not await is_healthy():
        await clock.sleep(poll_s)
    return clock.now_ns()
