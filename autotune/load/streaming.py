"""One streamed request to one server, from prompt to record."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from autotune.clock import Clock
from autotune.load.completion import Collector, excerpt, path_of, request_body
from autotune.load.connections import Connection, Exchange, Pool
from autotune.load.http1 import Http1Error
from autotune.load.prompts import Vocabulary
from autotune.load.sse import SseError, SseParser
from autotune.seams.requests import (
    GenerationRequest,
    Prompt,
    RequestErrorKind,
    RequestRecord,
)

_OK: Final = 200
_ERROR_BODY_BYTES: Final = 64 * 1024
_MOST_ENCODED_BYTES: Final = 64 * 1024**2
_MOST_ANSWER_BYTES: Final = 16 * 1024**2
_MOST_TOKEN_BYTES: Final = 16 * 1024
"""Of a response, and more for each token that was asked for: one with the log-probabilities of
twenty others has some 2 KiB."""


class _Answer:
    """The sink of one response: events to the collector, anything else kept for the message."""

    __slots__ = ("_collector", "_exchange", "_sse", "_streams", "other")

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._sse = SseParser()
        self._exchange: Exchange | None = None
        self._streams: bool | None = None
        self.other = b""

    def attach(self, exchange: Exchange) -> None:
        """Know whose head says what the body is."""
        self._exchange = exchange

    def body(self, data: bytes, at_ns: int) -> None:
        """See `connections.Sink`."""
        assert self._exchange is not None  # noqa: S101 - attached before anything is sent
        if self._streams is None:
            self._streams = self._is_stream()
        if self._streams:
            try:
                payloads = self._sse.feed(data)
            except SseError as error:
                self._exchange.parser.break_off(str(error))
                return
            for payload in payloads:
                self._collector.event(payload, at_ns)
        elif len(self.other) < _ERROR_BODY_BYTES:
            self.other += data

    def _is_stream(self) -> bool:
        assert self._exchange is not None  # noqa: S101 - attached before anything is sent
        parser = self._exchange.parser
        kind = parser.headers.get("content-type", "")
        return parser.status == _OK and kind.startswith("text/event-stream")

    @property
    def is_stream(self) -> bool:
        """Whether the response was a stream of events, perhaps one without any."""
        return self._is_stream() if self._streams is None else self._streams


class StreamingClient:
    """Sends requests and follows their streams.

    Args:
        base_url: Where the server answers.
        model: Name under which it serves the model.
        clock: Must be the machine's: sockets know no virtual time.
        vocabulary: Turns synthetic prompts into tokens.
        headers: Sent with every request.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        clock: Clock,
        vocabulary: Vocabulary | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self._clock = clock
        self._pool = Pool(base_url, clock.now_ns)
        # By the identity of the request, which is kept with it so that no other takes its place.
        self._encoded: dict[int, tuple[GenerationRequest, bytes | None]] = {}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())

    async def stream(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Send one request and follow it to its end. Raises nothing but cancellation."""
        due_ns = self._clock.now_ns() if scheduled_ns is None else scheduled_ns
        collector = Collector(request, scheduled_ns=due_ns)
        collector.sent_ns = max(due_ns, self._clock.now_ns())
        _, message = self._encoded.pop(id(request), (request, None))
        message = message or self._encode(request)
        if message is None:
            reason = "the server's tokens are not known, so no prompt of exact length can be made"
            collector.fail(RequestErrorKind.MALFORMED, reason)
            return collector.record(end_ns=self._clock.now_ns())
        try:
            async with asyncio.timeout(request.timeout_s):
                await self._exchange(message, collector)
        except TimeoutError:
            if not collector.done:
                reason = f"no end after {request.timeout_s:g} s"
                collector.fail(RequestErrorKind.TIMEOUT, reason)
        return collector.record(end_ns=self._clock.now_ns())

    def prompt_payload(self, prompt: Prompt) -> str | Sequence[int] | None:
        """What goes into the request's JSON; None if it cannot be made."""
        if prompt.text is not None:
            return prompt.text
        return None if self.vocabulary is None else self.vocabulary.payload(prompt.segments)

    async def prepare(self, requests: Sequence[GenerationRequest], connections: int) -> None:
        """Encode requests and open connections before a load, so that neither is part of it.

        When an engine's step ends a hundred answers at once, the next hundred requests are due at
        once; what they cost then, the last of them waits for.
        """
        if not requests or id(requests[0]) not in self._encoded:
            self._encode_ahead(requests)
        missing = connections - self._pool.count_idle()
        opened = await asyncio.gather(
            *(self._pool.open() for _ in range(missing)), return_exceptions=True
        )
        for connection in opened:
            if isinstance(connection, Connection):
                self._pool.put_back(connection)

    def close_connections(self) -> None:
        """Close what is idle, forget what was encoded."""
        self._encoded.clear()
        self._pool.close()

    def _encode_ahead(self, requests: Sequence[GenerationRequest]) -> None:
        self._encoded.clear()
        size = 0
        for request in requests:
            message = self._encode(request)
            if message is None or size > _MOST_ENCODED_BYTES:
                break
            self._encoded[id(request)] = (request, message)
            size += len(message)

    def _encode(self, request: GenerationRequest) -> bytes | None:
        """The whole message; None if its prompt cannot be made."""
        prompt = self.prompt_payload(request.prompt)
        if prompt is None:
            return None
        body = request_body(request, model=self.model, prompt=prompt)
        return self._head(path_of(request), request.request_id, len(body)) + body

    def _head(self, path: str, request_id: str, length: int) -> bytes:
        safe_id = request_id.encode("ascii", "replace").decode().replace("\r", "").replace("\n", "")
        return (
            f"POST {self._pool.prefix}{path} HTTP/1.1\r\n"
            f"Host: {self._pool.host_header}\r\n"
            "Content-Type: application/json\r\n"
            "Accept: text/event-stream\r\n"
            f"X-Request-Id: {safe_id}\r\n"
            f"{self._headers}"
            f"Content-Length: {length}\r\n\r\n"
        ).encode("latin-1", "replace")

    async def _exchange(self, message: bytes, collector: Collector) -> None:
        """Send and wait for the end; a connection that had gone stale is replaced once."""
        reused = self._pool.reuse()
        if reused is not None and await self._try(reused, message, collector, may_retry=True):
            return
        try:
            connection = await self._pool.open()
        except OSError as error:
            collector.fail(RequestErrorKind.REFUSED, f"no connection: {error}")
            return
        await self._try(connection, message, collector, may_retry=False)

    async def _try(
        self, connection: Connection, message: bytes, collector: Collector, *, may_retry: bool
    ) -> bool:
        """One attempt; False if a kept connection turned out to be closed by the server."""
        answer = _Answer(collector)
        most_bytes = _MOST_ANSWER_BYTES + _MOST_TOKEN_BYTES * collector.max_tokens
        exchange = Exchange(answer, asyncio.get_running_loop(), most_bytes)
        answer.attach(exchange)
        collector.sent_ns = self._clock.now_ns()
        connection.start(exchange, message)
        try:
            await exchange.ended
        except asyncio.CancelledError:
            connection.abort()
            raise
        if may_retry and exchange.broken is not None and not exchange.touched:
            return False
        if exchange.parser.keep_alive and exchange.broken is None:
            self._pool.put_back(connection)
        else:
            connection.abort()
        _judge(exchange, answer, collector)
        return True


def _judge(exchange: Exchange, answer: _Answer, collector: Collector) -> None:
    """Name what was wrong with the response as such; the collector judges its content."""
    status = exchange.parser.status
    if isinstance(exchange.broken, Http1Error):
        collector.fail(RequestErrorKind.MALFORMED, str(exchange.broken))
    elif status is not None and status != _OK:
        collector.fail(RequestErrorKind.STATUS, f"{status}: {excerpt(answer.other)}", status=status)
    elif status is not None and not answer.is_stream and exchange.broken is None:
        kind = exchange.parser.headers.get("content-type", "no content type")
        message = f"no event stream but {kind}: {excerpt(answer.other)}"
        collector.fail(RequestErrorKind.MALFORMED, message)
    elif exchange.broken is not None and not collector.done:
        collector.fail(RequestErrorKind.CUT_OFF, f"the connection broke: {exchange.broken}")
