"""Cleaning up to the end, whoever is in a hurry."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

LEAVING_GRACE_S: Final = 1.0
"""Between SIGTERM and SIGKILL for a server that nobody needs any more.

Everything it could say is measured by then. vLLM ends within 0.5 to 0.9 s; what takes longer is one
that compiles or captures graphs, where its handler is not reached at all, and one that unpins a KV
offload (docs/results/2026-11-26-h100: 5.1 and 2.7 s of a trial's time, with a grace of 5 s).
"""

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a bounded piece of work to its end even if the caller is cancelled meanwhile.

    The cancellation is raised afterwards; the work's own failure comes first.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
