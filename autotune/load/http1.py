"""The response half of HTTP/1.1, parsed from bytes that may be cut anywhere.

Just what a streaming answer needs (RFC 9112): status, headers, a body by chunks, by length or up
to the end of the connection. It knows no sockets, so any cut can be tested.
"""

from enum import Enum, auto
from typing import Final

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_SIZE_LINE_BYTES: Final = 4096
_MAX_LENGTH_DIGITS: Final = 18
_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"


class Http1Error(ValueError):
    """The bytes are no HTTP/1.1 response."""


class _State(Enum):
    HEAD = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    LENGTH = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()


class ResponseParser:
    """Parses one response.

    Attributes:
        status: None until the head has been read.
        headers: Names in lower case.
        error: Why this is no HTTP/1.1 response; what came before the fault is good.
    """

    __slots__ = ("_at", "_remaining", "_rest", "_state", "error", "headers", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.error: Http1Error | None = None
        self._rest = b""
        self._at = 0  # where in the rest what has not been taken yet begins
        self._remaining = 0
        self._state = _State.HEAD

    @property
    def complete(self) -> bool:
        """Whether the response has been read to its end."""
        return self._state is _State.DONE

    @property
    def keep_alive(self) -> bool:
        """Whether the connection can carry another request."""
        is_wanted = self.headers.get("connection", "").lower() != "close"
        return self.complete and is_wanted and not self._rest  # what follows was not asked for

    def feed(self, data: bytes) -> bytes:
        """Take bytes off the wire; give the body bytes in them, up to a fault (see `error`)."""
        if self.error is not None:
            return b""
        if self._state is _State.CHUNK_SIZE and not self._rest:
            # One whole chunk in one read: what a stream of tokens nearly always looks like.
            end = data.find(b"\r\n")
            if 0 < end <= 8:
                size = _size_or_zero(data[:end])
                if size and len(data) == end + size + 4 and data.endswith(b"\r\n"):
                    return data[end + 2 : -2]
        self._rest += data
        body: list[bytes] = []
        try:
            while self._step(body):
                pass
        except Http1Error as error:
            self.error = error
        self._rest, self._at = self._rest[self._at :], 0
        return body[0] if len(body) == 1 else b"".join(body)

    def break_off(self, reason: str) -> None:
        """Read no further: whoever takes the body can make nothing of it."""
        self.error = self.error or Http1Error(reason)

    def eof(self) -> bool:
        """The connection ended: whether that ends the response properly."""
        if self._state is _State.UNTIL_CLOSE:
            self._state = _State.DONE
        return self.complete

    def _step(self, body: list[bytes]) -> bool:
        """Take one element off the rest; False if there is not enough of it."""
        match self._state:
            case _State.HEAD:
                return self._head()
            case _State.CHUNK_SIZE:
                return self._size_line()
            case _State.CHUNK_DATA | _State.LENGTH:
                return self._counted(body)
            case _State.CHUNK_END:
                return self._chunk_end()
            case _State.TRAILER:
                return self._trailer()
            case _State.UNTIL_CLOSE:
                if self._at < len(self._rest):
                    body.append(self._rest[self._at :])
                    self._at = len(self._rest)
                return False
            case _State.DONE:
                return False

    def _head(self) -> bool:
        head = self._up_to(
            b"\r\n\r\n", _MAX_HEAD_BYTES, f"no end of the head within {_MAX_HEAD_BYTES} bytes"
        )
        if head is None:
            return False
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = _status(status_line)
        if 100 <= status < 200:
            return True  # an interim response; the real one follows
        self.status = status
        self.headers = dict(_header(line) for line in lines)
        self._state = self._body_state(status)
        return self._state is not _State.DONE

    def _body_state(self, status: int) -> _State:
        if status in {204, 304}:
            return _State.DONE
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return _State.CHUNK_SIZE
        length = self.headers.get("content-length")
        if length is None:
            return _State.UNTIL_CLOSE
        if not length.isascii() or not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
            message = f"content-length {length[:40]!r} is no number"
            raise Http1Error(message)
        self._remaining = int(length)
        return _State.LENGTH if self._remaining else _State.DONE

    def _size_line(self) -> bool:
        line = self._up_to(b"\r\n", _MAX_SIZE_LINE_BYTES, "a chunk's size line does not end")
        if line is None:
            return False
        self._remaining = size = _chunk_size(line)
        self._state = _State.CHUNK_DATA if size else _State.TRAILER
        return True

    def _counted(self, body: list[bytes]) -> bool:
        piece = self._rest[self._at : self._at + self._remaining]
        if not piece:
            return False
        self._at += len(piece)
        body.append(piece)
        self._remaining -= len(piece)
        if self._remaining == 0:
            chunked = self._state is _State.CHUNK_DATA
            self._state = _State.CHUNK_END if chunked else _State.DONE
        return True

    def _chunk_end(self) -> bool:
        end = self._rest[self._at : self._at + 2]
        if len(end) < 2:
            return False
        if end != b"\r\n":
            message = "a chunk is longer than its size says"
            raise Http1Error(message)
        self._at += 2
        self._state = _State.CHUNK_SIZE
        return True

    def _trailer(self) -> bool:
        line = self._up_to(b"\r\n", _MAX_HEAD_BYTES, "a trailer does not end")
        if line == b"":
            self._state = _State.DONE
        return bool(line)

    def _up_to(self, mark: bytes, most_bytes: int, complaint: str) -> bytes | None:
        """Take what stands before a mark, and the mark; None if the mark has not come yet.

        The rest stays as it is until it has been gone through: a read may bring thousands of
        lines, and a copy of what is left for each of them would stop the event loop.
        """
        end = self._rest.find(mark, self._at)
        if end < 0:
            if len(self._rest) - self._at > most_bytes:
                raise Http1Error(complaint)
            return None
        found = self._rest[self._at : end]
        self._at = end + len(mark)
        return found


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
        message = f"no HTTP/1.1 status line: {line[:80]!r}"
        raise Http1Error(message)
    return int(code)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        message = f"no header: {line[:80]!r}"
        raise Http1Error(message)
    return name.lower(), value.strip()


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    # int() alone would take signs, underscores and 0x.
    if not digits or digits.strip(_HEX_DIGITS):
        message = f"no chunk size: {line[:40]!r}"
        raise Http1Error(message)
    return int(digits, 16)


def _size_or_zero(line: bytes) -> int:
    """The size on a plain size line; 0 leaves anything else to the long way."""
    return 0 if line.strip(_HEX_DIGITS) else int(line, 16)
