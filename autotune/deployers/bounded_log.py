"""An engine's output on disk, whatever it writes: the beginning, the end, and no more."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from autotune.deployers.masking import MASK, spellings
from autotune.errors import DeployerError
from autotune.units import BYTES_PER_MIB

HEAD_BYTES: Final = 8 * BYTES_PER_MIB
TAIL_BYTES: Final = 8 * BYTES_PER_MIB
_PREFIX_BYTES: Final = 4


class BoundedLog:
    """A log file that never grows beyond head + 2 x tail bytes (and one write).

    The first `head_bytes` stay. What follows is cut back to its last `tail_bytes` whenever it
    reaches twice that, with a line that says how much was left out; so a flood costs each byte
    about two writes and no more disk. Not for two writers.

    Args:
        path: The file; what it held is gone.
        head_bytes: Kept from the beginning.
        tail_bytes: Kept from the end.
        secrets: Values that are replaced by a mask, however they are spelt (`masking`), also
            where two writes split them.

    Raises:
        DeployerError: If the file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
        secrets: Iterable[str] = (),
    ) -> None:
        self._path = path
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._secrets = [s.encode(errors="surrogateescape") for s in spellings(secrets)]
        self._held = b""
        self._left_out_bytes = 0
        self._body_start = head_bytes
        self.error = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b", buffering=0)
        except OSError as error:
            message = f"the engine's log {path} cannot be written: {error.strerror or error}"
            hint = "Is the disk full, or the folder somebody else's?"
            raise DeployerError(message, hint=hint) from error
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append. A full disk loses the rest, never the engine: see `error`."""
        data = self._held + data
        for secret in self._secrets:
            data = data.replace(secret, MASK.encode())
        keep = self._start_of_a_secret(data)
        self._held = data[len(data) - keep :]
        self._append(data[: len(data) - keep])

    def close(self) -> None:
        """Write what was held back and close."""
        held, self._held = self._held, b""
        self._append(held)
        self._file.close()

    def _start_of_a_secret(self, data: bytes) -> int:
        """Length of the end of `data` that may be the beginning of a secret."""
        return max((_overlap(data, secret) for secret in self._secrets), default=0)

    def _append(self, data: bytes) -> None:
        if not data or self._file.closed:  # whoever reads an output may come late
            return
        try:
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                self._size += written
                view = view[written:]
            if self._size > self._head_bytes + 2 * self._tail_bytes:
                self._cut()
        except OSError as error:
            self.error = f"the log could not be written: {error.strerror or error}"

    def _cut(self) -> None:
        """Drop the middle, in place: that needs no room, and no page of it has to be written out.

        (A rename over the file would make ext4 flush it at once, at every cut of a flood.)
        """
        tail_at = self._size - self._tail_bytes
        self._left_out_bytes += tail_at - self._body_start
        note = b"\n[autotune left out %d bytes here]\n" % self._left_out_bytes
        descriptor = self._file.fileno()
        tail = os.pread(descriptor, self._tail_bytes, tail_at)
        os.pwrite(descriptor, note + tail, self._head_bytes)
        self._body_start = self._head_bytes + len(note)
        self._size = self._body_start + len(tail)
        self._file.truncate(self._size)
        self._file.seek(self._size)


def _overlap(data: bytes, secret: bytes) -> int:
    """Length of the longest end of `data` with which `secret` begins, short of all of it.

    By its first bytes, for most ends of most lines hold none of them: this is done at every write.
    """
    at = max(0, len(data) - len(secret) + 1)
    while (at := data.find(secret[:_PREFIX_BYTES], at)) >= 0:
        if secret.startswith(data[at:]):
            return len(data) - at
        at += 1
    short = range(min(_PREFIX_BYTES, len(secret)) - 1, 0, -1)
    return next((length for length in short if data.endswith(secret[:length])), 0)
