"""What a report reads from a trial's folder: the end of its log, its memory over time."""

import os
from pathlib import Path
from typing import Final

import orjson

from autotune.report.untrusted import log_tail
from autotune.seams.telemetry import Sample

_TAIL_BYTES: Final = 16_384


def read_log_tail(path: Path, *, lines: int, characters: int) -> str:
    """The last lines of a log, cleaned; only the file's end is read. Empty if there is none.

    Args:
        path: The log.
        lines: At most so many, each cut to 240 characters.
        characters: At most so many in all; whole lines are left out from the front.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            raw = file.read()
    except OSError:
        return ""
    tail = log_tail(raw.decode(errors="replace"), lines=lines, width=240)
    while len(tail) > characters and "\n" in tail:
        tail = tail.partition("\n")[2]
    return tail[-characters:]


def read_telemetry(path: Path) -> tuple[Sample, ...]:
    """A trial's looks at the machine, oldest first; a torn last line is left out."""
    samples = []
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    values = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(values, dict) and isinstance(values.get("at_ns"), int):
                    at_ns = values.pop("at_ns")
                    samples.append(Sample(at_ns=at_ns, values=values))
    except OSError:
        return ()
    return tuple(samples)
