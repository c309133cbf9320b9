"""Replay of recorded traffic: when requests came, how long they were, what they shared.

The format is that of the Mooncake traces (FAST'25): JSONL with `timestamp` in milliseconds,
`input_length` and `output_length` in tokens, and `hash_ids`, one per block of 512 prompt tokens,
equal where prompts share a prefix.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from autotune.errors import SpecError
from autotune.seams.requests import Segment
from autotune.units import NS_PER_MS

_BLOCK_TOKENS: Final = 512
_HINT: Final = 'Each line is {"timestamp": ms, "input_length": n, "output_length": n}.'


@dataclass(frozen=True, kw_only=True)
class TraceEntry:
    """One recorded request.

    Attributes:
        offset_ns: After the first one.
        segments: A synthetic prompt of the recorded length; shared blocks share segments.
    """

    offset_ns: int
    segments: tuple[Segment, ...]
    output_tokens: int


def read_trace(path: Path, *, seed: int) -> tuple[TraceEntry, ...]:
    """Read a trace, ordered by time.

    Args:
        path: The file.
        seed: Prompts derive from it.

    Raises:
        SpecError: Naming the file and the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SpecError(message, hint="Check workload.dataset.") from error
    rows = [
        _row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not rows:
        message = f"{path} holds no request"
        raise SpecError(message, hint=_HINT)
    rows.sort(key=lambda row: float(row["timestamp"]))
    first_ms = rows[0]["timestamp"]
    return tuple(
        TraceEntry(
            offset_ns=round((row["timestamp"] - first_ms) * NS_PER_MS),
            segments=_segments(row, index, seed),
            output_tokens=row["output_length"],
        )
        for index, row in enumerate(rows)
    )


def is_trace(path: Path) -> bool:
    """Whether a JSONL file is a trace and no data set, by its first line."""
    try:
        with path.open("rb") as file:
            row = orjson.loads(file.readline())
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(row, dict) and "input_length" in row


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        message = f"{where}: no JSON: {error}"
        raise SpecError(message, hint=_HINT) from error
    if not isinstance(row, dict):
        message = f"{where}: no object"
        raise SpecError(message, hint=_HINT)
    if not isinstance(row.get("timestamp"), int | float) or isinstance(row["timestamp"], bool):
        message = f"{where}: timestamp must be a number of milliseconds"
        raise SpecError(message, hint=_HINT)
    for name in ("input_length", "output_length"):
        if not isinstance(row.get(name), int) or row[name] < 1:
            message = f"{where}: {name} must be a positive whole number"
            raise SpecError(message, hint=_HINT)
    return row


def _segments(row: dict[str, Any], index: int, seed: int) -> tuple[Segment, ...]:
    """Blocks by their hashes, so that shared hashes are shared tokens; else one of its own."""
    left = int(row["input_length"])
    segments = []
    for block in row.get("hash_ids") or ():
        if left <= 0:
            break
        tokens = min(_BLOCK_TOKENS, left)
        segments.append(Segment(_mixed(seed, int(block)), tokens))
        left -= tokens
    if left > 0:
        segments.append(Segment(_mixed(seed, -1 - index), left))
    return tuple(segments)


def _mixed(seed: int, key: int) -> int:
    """A seed for each key of a trace; distinct keys give distinct seeds."""
    return (seed << 64) ^ (key & (2**64 - 1))
