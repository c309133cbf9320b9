"""Connections to one server, kept open between requests.

A plain `asyncio` protocol in place of an HTTP library's stream: bytes are stamped the moment the
event loop has read them and no task is woken per chunk, which is what keeps the client out of
the figures when a hundred streams deliver at once.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

from autotune.load.http1 import ResponseParser

_BUFFER_BYTES: Final = 256 * 1024
_IDLE_LIMIT_NS: Final = 2_000_000_000  # below uvicorn's keep-alive of 5 s


class Sink(Protocol):
    """Where the body of a response goes."""

    def body(self, data: bytes, at_ns: int) -> None:
        """Bytes of the body, with the time at which they were read."""
        ...


class Exchange:
    """One request's response while it arrives.

    Args:
        sink: Gets the body.
        loop: Of the connection.
        most_bytes: The longest response; what is longer is broken off, for it may have no end.
    """

    __slots__ = ("broken", "ended", "left_bytes", "most_bytes", "parser", "sink", "touched")

    def __init__(self, sink: Sink, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self.parser = ResponseParser()
        self.sink = sink
        self.most_bytes = self.left_bytes = most_bytes
        self.ended: asyncio.Future[None] = loop.create_future()
        self.broken: Exception | None = None
        self.touched = False

    def finish(self) -> None:
        """Wake whoever waits for the end."""
        if not self.ended.done():
            self.ended.set_result(None)


class Connection(asyncio.BufferedProtocol):
    """One connection; carries one exchange at a time."""

    def __init__(self, now_ns: Callable[[], int], buffer: bytearray) -> None:
        self._now_ns = now_ns
        self._buffer = buffer
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self.idle_since_ns = 0

    @property
    def is_open(self) -> bool:
        """Whether another request can go out on it."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, exchange: Exchange, request: bytes) -> None:
        """Send a request whose response goes to `exchange`."""
        self._exchange = exchange
        if self._transport is None or self._transport.is_closing():
            exchange.broken = ConnectionResetError("the connection is closed")
            exchange.finish()
            return
        self._transport.write(request)

    def release(self) -> None:
        """The exchange is over for whoever started it."""
        self._exchange = None
        self.idle_since_ns = self._now_ns()

    def abort(self) -> None:
        """Close at once."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what loops give for TCP
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        """asyncio: where to read to; shared by all, for it is emptied at once."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: so many bytes were read."""
        at_ns = self._now_ns()
        exchange = self._exchange
        if exchange is None:
            self.abort()  # a server that talks out of turn
            return
        exchange.touched = True
        body = exchange.parser.feed(bytes(memoryview(self._buffer)[:nbytes]))
        if body:
            exchange.sink.body(body, at_ns)
        exchange.left_bytes -= nbytes
        if exchange.left_bytes < 0:
            exchange.parser.break_off(f"the response has more than {exchange.most_bytes} bytes")
        if exchange.parser.error is not None:
            exchange.broken = exchange.parser.error
            self.abort()
            exchange.finish()
        elif exchange.parser.complete:
            exchange.finish()

    def eof_received(self) -> bool:
        """asyncio: the server closed its side; close ours."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is gone."""
        exchange = self._exchange
        self._exchange = None
        if exchange is None:
            return
        if not exchange.parser.eof():
            exchange.broken = exc or ConnectionResetError("the server closed the connection")
        exchange.finish()


class Pool:
    """Open connections to one server.

    Args:
        base_url: `http://host:port`, perhaps with a path; https works too.
        now_ns: The monotonic clock that stamps arrivals.
    """

    def __init__(self, base_url: str, now_ns: Callable[[], int]) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or "127.0.0.1"
        secure = parts.scheme == "https"
        self.port = parts.port or (443 if secure else 80)
        self.prefix = parts.path.rstrip("/")
        self._ssl = ssl.create_default_context() if secure else None
        self._now_ns = now_ns
        self._buffer = bytearray(_BUFFER_BYTES)
        self._idle: list[Connection] = []

    @property
    def host_header(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open(self) -> Connection:
        """A new connection.

        Raises:
            OSError: If there is none to be had.
        """
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: Connection(self._now_ns, self._buffer), self.host, self.port, ssl=self._ssl
        )
        return protocol

    def reuse(self) -> Connection | None:
        """A connection that is open and was used just now; None if there is none."""
        oldest_ns = self._now_ns() - _IDLE_LIMIT_NS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since_ns >= oldest_ns:
                return connection
            connection.abort()
        return None

    def count_idle(self) -> int:
        """How many connections can be used at once; those that cannot are dropped."""
        usable = []
        while (connection := self.reuse()) is not None:
            usable.append(connection)
        self._idle = usable[::-1]
        return len(self._idle)

    def put_back(self, connection: Connection) -> None:
        """Keep an open connection for the next request."""
        connection.release()
        self._idle.append(connection)

    def close(self) -> None:
        """Close all that are idle."""
        while self._idle:
            self._idle.pop().abort()
