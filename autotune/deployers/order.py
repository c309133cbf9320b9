"""What a supervisor is told to run."""

import json
import os
import struct
from dataclasses import asdict, dataclass
from typing import Final

from autotune.seams.deployment import Identity

_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to run; arrives on standard input, for it may hold secrets.

    Attributes:
        secrets: Values masked in the log.
        footprints: Folder for the footprint.
    """

    deployment: str
    identity: Identity
    argv: tuple[str, ...]
    env: dict[str, str]
    log_path: str
    footprints: str
    secrets: tuple[str, ...] = ()
    memory_limit_bytes: int | None = None

    def to_bytes(self) -> bytes:
        """As JSON, behind its length in four bytes."""
        text = json.dumps(asdict(self)).encode()
        return _LENGTH.pack(len(text)) + text

    @classmethod
    def read(cls, descriptor: int) -> "Order | None":
        """Take it off a stream, and not a byte more; None if the stream ends before."""
        head = _read_exactly(descriptor, _LENGTH.size)
        text = head and _read_exactly(descriptor, _LENGTH.unpack(head)[0])
        if not text:
            return None
        raw = json.loads(text)
        raw["identity"] = Identity(**raw["identity"])
        raw["argv"], raw["secrets"] = tuple(raw["argv"]), tuple(raw["secrets"])
        return cls(**raw)


def _read_exactly(descriptor: int, count: int) -> bytes:
    """So many bytes; none if there are fewer."""
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            return b""
        data += more
    return data
