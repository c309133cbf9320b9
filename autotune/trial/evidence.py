"""Gathering what a failure can be named by."""

import re
from pathlib import Path
from typing import Final

from autotune.units import BYTES_PER_KIB

HEAD_BYTES: Final = 256 * BYTES_PER_KIB
TAIL_BYTES: Final = 768 * BYTES_PER_KIB

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def read_log(path: Path, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> str:
    """The beginning and the end of a log; the root cause of a failure is near one of them.

    Undecodable bytes are replaced and terminal control sequences dropped: an engine's output is
    not to be trusted. An absent file is an empty log.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            raw = file.read(min(size, head_bytes + tail_bytes))
            if size > head_bytes + tail_bytes:
                file.seek(-tail_bytes, 2)
                raw = raw[:head_bytes] + b"\n[...]\n" + file.read(tail_bytes)
    except OSError:
        return ""
    return plain(raw.decode("utf-8", errors="replace"))


def plain(text: str) -> str:
    """Text without terminal control sequences; a carriage return starts a new line."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def last_lines(log: str, count: int) -> tuple[str, ...]:
    """The last so many lines that hold anything."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    return tuple(lines[-count:])
