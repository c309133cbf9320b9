"""The HTTP face: vLLM's paths over a simulated server, with streams, usage and faults."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from autotune.engines.simulated.faults import Fault
from autotune.engines.simulated.protocol import Asked, Events, event_bytes, logprobs_of, usage_of
from autotune.engines.simulated.sequence import Sequence
from autotune.engines.simulated.server import EngineDied, SimulatedServer
from autotune.engines.simulated.text import prompt_logprobs

_BEFORE_FAULT: Final = 3
"""Requests for text that are answered before a fault under load begins; warm-ups and the like."""
_CHUNKS_BEFORE_FAULT: Final = 3
_BROKEN_STREAM: Final = frozenset({Fault.STALL, Fault.CUT, Fault.ERROR_IN_STREAM})


class HttpFace:
    """Handlers of one server process.

    Args:
        server: The server behind.
        fault: What goes wrong; None for nothing.
        dies: Called when the engine dies under load, with its last words.
        kill: Ends the process as the kernel would.
    """

    def __init__(
        self,
        server: SimulatedServer,
        *,
        fault: Fault | None,
        dies: Callable[[Fault], None],
        kill: Callable[[], None],
    ) -> None:
        self._server, self._fault = server, fault
        self._dies, self._kill = dies, kill
        self._asked = 0
        self._forever = asyncio.Event()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/{path:.*}", self._get)
        app.router.add_post("/{path:.*}", self._post)
        return app

    # ---- plain paths ----

    async def _get(self, request: web.Request) -> web.StreamResponse:
        await self._deafness()
        answer = self._server.get(request.path_qs)
        kind = "application/json" if answer.text.startswith("{") else "text/plain"
        return web.Response(status=answer.status, text=answer.text, content_type=kind)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        await self._deafness()
        answer = self._server.post(request.path_qs, await _json_body(request))
        return web.Response(status=answer.status, text=answer.text, content_type="application/json")

    async def _deafness(self) -> None:
        if self._fault is Fault.DEAF and self._asked > _BEFORE_FAULT:
            await self._forever.wait()

    # ---- text ----

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=False)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=True)

    async def _answer(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = await _json_body(request)
        asked = Asked(body, chat=chat, wrong=self._fault is Fault.WRONG_ANSWERS)
        self._asked += 1
        broken = self._fault if self._asked > _BEFORE_FAULT else None
        refusal = await self._fail_early(broken)
        if refusal is not None:
            return refusal
        if self._server.core.is_stopped:
            return _error(500, "EngineCore encountered an issue.", "InternalServerError")
        wanted = max(1, asked.max_tokens // 2) if broken is Fault.SHORT else asked.max_tokens
        sequence = self._server.sequence(asked.prompt, wanted)
        objection = self._server.objection(sequence.prompt_tokens, asked.max_tokens)
        if objection is not None:
            return _error(400, objection, "BadRequestError")
        if asked.streams:
            return await self._stream(request, asked, sequence, broken)
        return await self._whole(asked, sequence)

    async def _fail_early(self, fault: Fault | None) -> web.Response | None:
        """What happens to a request before it is worked on."""
        match fault:
            case Fault.OOM_UNDER_LOAD | Fault.DIES_UNDER_LOAD:
                self._dies(fault)
            case Fault.KILLED_UNDER_LOAD:
                self._kill()
            case Fault.HANG | Fault.DEAF:
                await self._forever.wait()
            case Fault.SERVER_ERROR:
                return _error(500, "Internal Server Error", "InternalServerError")
            case _:
                pass
        return None

    async def _whole(self, asked: Asked, sequence: Sequence) -> web.StreamResponse:
        try:
            answer = await self._server.answer(sequence)
        except EngineDied:
            return _error(500, "EngineCore encountered an issue.", "InternalServerError")
        count = answer.output_tokens
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "stop_reason": None}
        text = asked.words.text(count)
        choice |= (
            {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
        )
        choice["logprobs"] = logprobs_of(asked, 0, count)
        if asked.prompt_logprobs is not None:
            wrong = self._fault is Fault.WRONG_ANSWERS
            values = prompt_logprobs(asked.key, sequence.prompt_tokens, wrong=wrong)
            choice["prompt_logprobs"] = [
                None
                if value is None
                else {"1": {"logprob": value, "rank": 1, "decoded_token": " the"}}
                for value in values
            ]
        usage = usage_of(sequence, count)
        return web.json_response({**self._head(asked), "choices": [choice], "usage": usage})

    async def _stream(
        self, request: web.Request, asked: Asked, sequence: Sequence, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        writer = Events(response, self._head(asked), asked)
        try:
            async for count in self._server.stream(sequence):
                await writer.tokens(count, empty=fault is Fault.EMPTY)
                if fault in _BROKEN_STREAM and writer.chunks >= _CHUNKS_BEFORE_FAULT:
                    return await self._break(response, request, fault)
        except EngineDied:
            await writer.error("EngineCore encountered an issue.")
            return await _cut(response, request)
        except ConnectionError:  # the client has gone: nobody is left to answer
            return response
        await writer.finish()
        if asked.wants_usage and fault is not Fault.NO_USAGE:
            await writer.usage(usage_of(sequence, sequence.generated_tokens))
        await writer.done()
        return response

    async def _break(
        self, response: web.StreamResponse, request: web.Request, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is Fault.STALL:
            await self._forever.wait()
        if fault is Fault.ERROR_IN_STREAM:
            error = {
                "message": "CUDA error: an illegal memory access",
                "type": "Error",
                "code": 500,
            }
            await response.write(event_bytes({"error": error}))
            await response.write(b"data: [DONE]\n\n")
            return response
        return await _cut(response, request)

    def _head(self, asked: Asked) -> dict[str, Any]:
        kind = "text_completion"
        if asked.chat:
            kind = "chat.completion.chunk" if asked.streams else "chat.completion"
        name = self._server.settings.served_name
        prefix = "chatcmpl" if asked.chat else "cmpl"
        return {"id": f"{prefix}-{self._asked}", "object": kind, "created": 0, "model": name}


async def _json_body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    return body if isinstance(body, Mapping) else {}


def _error(status: int, message: str, kind: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)


async def _cut(response: web.StreamResponse, request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of a stream."""
    if request.transport is not None:
        request.transport.abort()
    return response
