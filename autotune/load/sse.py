"""Server-sent events, parsed from bytes that may be cut anywhere.

Follows the event stream format of the HTML standard (section 9.2.6) as far as data goes: other
fields and comments are skipped, an event that the stream's end cuts short is dropped.
"""

from typing import Final

_MOST_PENDING_BYTES: Final = 4 * 1024**2
"""Of an event that is not whole yet; the largest has log-probabilities of some KiB."""


class SseError(ValueError):
    """An event that does not end."""


class SseParser:
    """Turns a byte stream into the payloads of its events."""

    __slots__ = ("_data", "_data_bytes", "_rest", "_skip_line_feed")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._skip_line_feed = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that `chunk` completes, in order.

        Raises:
            SseError: What is no whole event yet is longer than any.
        """
        if (
            not self._rest
            and not self._data
            and not self._skip_line_feed
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
        ):
            return [chunk[6:-2]]  # one whole event: what servers nearly always send
        return self._feed_lines(chunk)

    def _feed_lines(self, chunk: bytes) -> list[bytes]:
        if self._skip_line_feed and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_line_feed = False
        lines = (self._rest + chunk).splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._rest = lines.pop()
        if lines and lines[-1].endswith(b"\r"):
            self._skip_line_feed = True
        payloads = [payload for line in lines if (payload := self._line(line)) is not None]
        if len(self._rest) + self._data_bytes > _MOST_PENDING_BYTES:
            message = f"an event does not end within {_MOST_PENDING_BYTES} bytes"
            raise SseError(message)
        return payloads

    def _line(self, line: bytes) -> bytes | None:
        line = line.rstrip(b"\r\n")
        if not line:
            if not self._data:
                return None
            payload = b"\n".join(self._data)
            self._data.clear()
            self._data_bytes = 0
            return payload
        if line.startswith(b"data:"):
            self._data_bytes += len(line)
            self._data.append(line[5:].removeprefix(b" "))
        return None
