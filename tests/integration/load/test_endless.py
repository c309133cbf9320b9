"""Servers that send without end, or something else than what was asked for: none is read on."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from autotune.clock import MonotonicClock
from autotune.load import client as http_client
from autotune.load.connect import http_connector
from autotune.seams.requests import GenerationRequest, Prompt, RequestErrorKind

T = TypeVar("T")

CLOCK = MonotonicClock()
MIB = 1024**2
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNKED = EVENTS.replace(b"connection: close", b"transfer-encoding: chunked")
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
WORD = b'data: {"choices": [{"index": 0, "text": "word", "finish_reason": null}]}\n\n'
PIECE = b"x" * MIB
LIMIT = 300 * MIB
"""What a server would send at most: more than any bound, less than a machine's memory."""


@dataclass
class Endless:
    """A server that begins with a head and goes on with one piece."""

    head: bytes
    piece: bytes
    sent: int = 0
    asked: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request until nobody reads any more."""
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", asked)
            await reader.readexactly(int(length[1]) if length else 0)
            self.asked.append(asked)
            writer.write(self.head)
            while self.piece and self.sent < LIMIT:
                writer.write(self.piece)
                await writer.drain()
                self.sent += len(self.piece)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(endless: Endless) -> AsyncIterator[str]:
    """Its URL."""
    server = await asyncio.start_server(endless.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def with_client(endless: Endless, ask: Callable[[http_client.HttpClient], Awaitable[T]]) -> T:
    """What a client makes of it."""

    async def main() -> T:
        connect = http_connector(CLOCK, processes=0)
        async with served(endless) as url, connect(base_url=url, model="m") as connection:
            assert isinstance(connection.client, http_client.HttpClient)
            return await ask(connection.client)

    return CLOCK.run(main())


@pytest.mark.parametrize(
    ("head", "piece", "said"),
    [
        (EVENTS, b"data: " + PIECE, "does not end within"),
        (EVENTS, b"data: a\n" * 100_000, "does not end within"),
        (EVENTS, WORD * 10_000, "has more than"),
        (EVENTS, b": ping\n\n" * 100_000, "has more than"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000, "has more than"),
        (b"HTTP/1.1 200 OK\r\nx: ", PIECE, "no end of the head"),
        (CHUNKED + b"0\r\nx: ", PIECE, "trailer does not end"),
        (CHUNKED + b"0\r\n", (b"x: " + b"y" * 500 + b"\r\n") * 2_000, "has more than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", b"", "is no number"),
    ],
)
def test_an_answer_without_an_end_is_broken_off(head: bytes, piece: bytes, said: str) -> None:
    """It is malformed, and most of it was never read."""
    endless = Endless(head, piece)
    request = GenerationRequest(request_id="r", prompt=Prompt(text="Hello"), max_tokens=8)

    record = with_client(endless, lambda client: client.generate(request))

    assert record.error is not None
    assert record.error.kind is RequestErrorKind.MALFORMED
    assert said in record.error.message
    assert endless.sent < LIMIT / 2


def test_a_document_without_an_end_is_nobodys_answer() -> None:
    """As /metrics, which is asked for twice a second."""
    endless = Endless(JSON + b"\r\n", PIECE)

    assert with_client(endless, lambda client: client.get("/metrics")) is None
    assert endless.sent < LIMIT / 2


def test_log_probabilities_without_an_end_are_broken_off() -> None:
    """They come in one piece."""
    endless = Endless(JSON + b"\r\n", PIECE)
    request = GenerationRequest(
        request_id="r", prompt=Prompt(text="Hello"), max_tokens=1, prompt_logprobs=0
    )

    record = with_client(endless, lambda client: client.generate(request))

    assert record.error is not None
    assert record.error.kind is RequestErrorKind.MALFORMED
    assert "more than 64 MiB" in record.error.message


def test_what_is_compressed_is_not_unfolded() -> None:
    """A gigabyte of zeros is a megabyte on the wire; nobody asked for it so."""
    bomb = gzip.compress(bytes(64 * MIB))
    head = JSON + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    endless = Endless(head + bomb, b"")

    answer = with_client(endless, lambda client: client.get("/metrics"))

    assert answer is not None
    assert len(answer.text) <= len(bomb)
    assert b"accept-encoding: identity" in endless.asked[0].lower()


def test_a_redirection_is_not_followed() -> None:
    """It may lead to another host, and the request carries a key."""
    elsewhere = Endless(JSON + b"\r\n{}", b"")

    async def main() -> tuple[int | None, str | None]:
        async with served(elsewhere) as there:
            head = b"HTTP/1.1 307 Elsewhere\r\nlocation: " + there.encode() + b"/\r\n"
            here = Endless(
                head + b"content-length: 0\r\nconnection: close\r\nset-cookie: a=b\r\n\r\n", b""
            )
            headers = {"Authorization": "Bearer key"}
            connect = http_connector(CLOCK, processes=0, headers=headers)
            async with served(here) as url, connect(base_url=url, model="m") as connection:
                answer = await connection.client.get("/health")
                whole = GenerationRequest(
                    request_id="r", prompt=Prompt(text="Hello"), max_tokens=1, prompt_logprobs=0
                )
                record = await connection.client.generate(whole)
        error = record.error
        return answer and answer.status, error and str(error.status)

    assert CLOCK.run(main()) == (307, "307")
    assert elsewhere.asked == []
