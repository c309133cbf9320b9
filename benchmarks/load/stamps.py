"""vLLM's own times of each request, taken where they enter and leave its front end.

    vllm serve MODEL --middleware benchmarks.load.stamps.Stamps

with this repository on PYTHONPATH. Runs inside vLLM, so it imports nothing but the standard
library. `GET /benchmark/stamps` gives one row per request for completions, in order of arrival.
Times are of CLOCK_MONOTONIC, which every process of a machine shares.
"""

import json
import time  # noqa: TID251 - inside the server, which has no clock of ours
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PATH = "/benchmark/stamps"
LOADED = "/v1/completions"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Stamps:
    """ASGI middleware: stamps requests and the first and last bytes of their answers.

    The first bytes of the body are those of the first token: a stream of completions begins with
    nothing else.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._rows: list[dict[str, Any]] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI's call for one request."""
        path = scope.get("path")
        if path == PATH:
            await _answer(send, json.dumps(self._rows).encode())
        elif path == LOADED:
            await self._stamped(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stamped(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        row = {
            "request_id": headers.get(b"x-request-id", b"").decode("latin-1"),
            "received_ns": time.monotonic_ns(),
            "first_send_ns": None,
            "last_send_ns": None,
        }
        self._rows.append(row)

        async def stamping(message: Message) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                row["last_send_ns"] = time.monotonic_ns()
                if row["first_send_ns"] is None:
                    row["first_send_ns"] = row["last_send_ns"]
            await send(message)

        await self._app(scope, receive, stamping)


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
