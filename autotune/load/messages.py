"""What a load's parent process and its workers say to each other.

Messages are pickles with their length before them, over pipes between a parent and its own
children only.
"""

import asyncio
import pickle
import struct
from dataclasses import dataclass
from typing import Any, Final

from autotune.load.prompts import Vocabulary
from autotune.seams.requests import LoadPlan, RequestRecord

LENGTH: Final = struct.Struct("!Q")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One process's part of a load.

    Attributes:
        start_ns: When the load starts, on the machine's monotonic clock.
    """

    base_url: str
    model: str
    headers: dict[str, str]
    vocabulary: Vocabulary
    plan: LoadPlan
    start_ns: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """What came of it.

    Attributes:
        cpu_ratio: CPU time / wall time of this process during the load.
        loop_lag_p99_ns: How late its event loop came to a timer of 10 ms.
        is_realtime: Whether it had real-time priority during the load.
    """

    records: tuple[RequestRecord, ...]
    cpu_ratio: float
    loop_lag_p99_ns: int | None
    is_realtime: bool


def frame(message: object) -> bytes:
    """A message with its length before it."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


def unframe(body: bytes) -> Any:
    """The message in a body; only ever between a parent and its own child."""
    return pickle.loads(body)  # noqa: S301


async def read_frame(stream: asyncio.StreamReader) -> bytes:
    """The next body.

    Raises:
        asyncio.IncompleteReadError: If the other side is gone.
    """
    (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
    return await stream.readexactly(length)
