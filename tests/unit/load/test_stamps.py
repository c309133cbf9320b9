"""The middleware that stamps requests inside vLLM."""

import asyncio
import json
from typing import Any

from benchmarks.load.stamps import LOADED, PATH, Message, Receive, Send, Stamps

CHUNKS = (b"data: first\n\n", b"data: second\n\n", b"")


async def answering(scope: Message, receive: Receive, send: Send) -> None:
    """An application that answers in three pieces, the last of which is empty."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for chunk in CHUNKS:
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": chunk, "more_body": bool(chunk)})


async def asked(stamps: Stamps, path: str, request_id: bytes = b"") -> list[Message]:
    """What a request gets back."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"x-request-id", request_id)]
    await stamps({"type": "http", "path": path, "headers": headers}, receive, send)
    return sent


def rows_after(*requests: tuple[str, bytes]) -> list[dict[str, Any]]:
    """What the middleware tells of these requests."""

    async def told() -> list[dict[str, Any]]:
        stamps = Stamps(answering)
        for path, request_id in requests:
            await asked(stamps, path, request_id)
        rows: list[dict[str, Any]] = json.loads((await asked(stamps, PATH))[1]["body"])
        return rows

    return asyncio.run(told())


def test_an_answer_passes_as_it_is() -> None:
    """Head and every piece of the body."""
    sent = asyncio.run(asked(Stamps(answering), LOADED))
    assert [message.get("body") for message in sent] == [None, *CHUNKS]


def test_each_completion_has_its_id_and_its_times_in_order() -> None:
    """The empty end of a body is no content and is not stamped."""
    rows = rows_after((LOADED, b"a-0"), ("/health", b"x"), (LOADED, b"a-1"))

    assert [row["request_id"] for row in rows] == ["a-0", "a-1"]
    for row in rows:
        assert row["received_ns"] < row["first_send_ns"] < row["last_send_ns"]
