"""The HTTP face: vLLM's paths over a simulated server, with streams, usage and faults."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from aiohttp import web

from autotune.engines.simulated.faults import Fault
from autotune.engines.simulated.sequence import Sequence
from autotune.engines.simulated.server import EngineDied, SimulatedServer
from autotune.engines.simulated.text import Words, prompt_logprobs
from autotune.seams.requests import Prompt, Segment

_BEFORE_FAULT: Final = 3
"""Requests for text that are answered before a fault under load begins; warm-ups and the like."""
_CHUNKS_BEFORE_FAULT: Final = 3
_BLOCK: Final = 16
"""Token ids of a prompt become segments of so many: equal leading ids are equal segments."""
_BROKEN_STREAM: Final = frozenset({Fault.STALL, Fault.CUT, Fault.ERROR_IN_STREAM})


class _Asked:
    """One request for text, understood."""

    def __init__(self, body: Mapping[str, Any], *, chat: bool, wrong: bool) -> None:
        self.chat = chat
        self.question = _question(body) if chat else ""
        raw = body.get("prompt", "")
        ids = raw if isinstance(raw, list) else []
        self.text = self.question or (raw if isinstance(raw, str) else "")
        self.max_tokens = int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)
        self.streams = bool(body.get("stream"))
        options = body.get("stream_options") or {}
        self.wants_usage = bool(options.get("include_usage"))
        self.logprobs = body.get("logprobs")
        self.prompt_logprobs = body.get("prompt_logprobs")
        self.key = self.text or _ids_key(ids)
        self.words = Words(self.key, question=self.text, wrong=wrong)
        self.prompt = (
            Prompt(segments=_segments(ids)) if ids else Prompt(text=self.text or " ", chat=chat)
        )


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
        asked = _Asked(body, chat=chat, wrong=self._fault is Fault.WRONG_ANSWERS)
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

    async def _whole(self, asked: _Asked, sequence: Sequence) -> web.StreamResponse:
        try:
            answer = await self._server.answer(sequence)
        except EngineDied:
            return _error(500, "EngineCore encountered an issue.", "InternalServerError")
        count = len(answer.times_ns)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "stop_reason": None}
        text = asked.words.text(count)
        choice |= (
            {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
        )
        choice["logprobs"] = _logprobs(asked, 0, count)
        if asked.prompt_logprobs is not None:
            wrong = self._fault is Fault.WRONG_ANSWERS
            values = prompt_logprobs(asked.key, sequence.prompt_tokens, wrong=wrong)
            choice["prompt_logprobs"] = [
                None
                if value is None
                else {"1": {"logprob": value, "rank": 1, "decoded_token": " the"}}
                for value in values
            ]
        usage = _usage(sequence, count)
        return web.json_response({**self._head(asked), "choices": [choice], "usage": usage})

    async def _stream(
        self, request: web.Request, asked: _Asked, sequence: Sequence, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        writer = _Events(response, self._head(asked), asked)
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
            await writer.usage(_usage(sequence, sequence.generated_tokens))
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
            await response.write(_event({"error": error}))
            await response.write(b"data: [DONE]\n\n")
            return response
        return await _cut(response, request)

    def _head(self, asked: _Asked) -> dict[str, Any]:
        kind = "text_completion"
        if asked.chat:
            kind = "chat.completion.chunk" if asked.streams else "chat.completion"
        name = self._server.settings.served_name
        prefix = "chatcmpl" if asked.chat else "cmpl"
        return {"id": f"{prefix}-{self._asked}", "object": kind, "created": 0, "model": name}


class _Events:
    """Writes the events of one stream."""

    def __init__(
        self, response: web.StreamResponse, head: Mapping[str, Any], asked: _Asked
    ) -> None:
        self._response, self._head, self._asked = response, head, asked
        self._sent = 0
        self.chunks = 0

    async def tokens(self, count: int, *, empty: bool) -> None:
        """A chunk with so many tokens."""
        words = self._asked.words
        text = "".join(words.token(self._sent + i).text for i in range(count))
        choice = self._choice("" if empty else text, finish=None)
        choice["logprobs"] = _logprobs(self._asked, self._sent, count)
        self._sent += count
        self.chunks += 1
        await self._response.write(_event({**self._head, "choices": [choice]}))

    async def finish(self) -> None:
        """The chunk that gives the reason of the end."""
        choice = self._choice("", finish="length")
        await self._response.write(_event({**self._head, "choices": [choice]}))

    async def usage(self, usage: Mapping[str, Any]) -> None:
        """The chunk that counts tokens."""
        await self._response.write(_event({**self._head, "choices": [], "usage": usage}))

    async def error(self, message: str) -> None:
        """The chunk that carries an error."""
        with suppress(ConnectionError):
            await self._response.write(_event({"error": {"message": message, "code": 500}}))

    async def done(self) -> None:
        """The end mark."""
        await self._response.write(b"data: [DONE]\n\n")

    def _choice(self, text: str, *, finish: str | None) -> dict[str, Any]:
        content = {"delta": {"content": text}} if self._asked.chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish}


def _logprobs(asked: _Asked, start: int, count: int) -> dict[str, Any] | None:
    """OpenAI's two shapes of log-probabilities."""
    if asked.logprobs is None or asked.logprobs is False:
        return None
    tokens = [asked.words.token(start + i) for i in range(count)]
    if not asked.chat:
        return {
            "tokens": [t.text for t in tokens],
            "token_logprobs": [t.logprob for t in tokens],
            "top_logprobs": [dict(t.others) for t in tokens],
        }
    content = [
        {
            "token": t.text,
            "logprob": t.logprob,
            "top_logprobs": [{"token": o, "logprob": v} for o, v in t.others.items()],
        }
        for t in tokens
    ]
    return {"content": content}


def _usage(sequence: Sequence, count: int) -> dict[str, Any]:
    return {
        "prompt_tokens": sequence.prompt_tokens,
        "completion_tokens": count,
        "total_tokens": sequence.prompt_tokens + count,
        "prompt_tokens_details": {"cached_tokens": sequence.cached_tokens or 0},
    }


def _question(body: Mapping[str, Any]) -> str:
    parts = []
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, Mapping) else ""
        parts.append(content if isinstance(content, str) else json.dumps(content))
    return "\n".join(parts)


def _segments(ids: list[Any]) -> tuple[Segment, ...]:
    """Token ids as segments: equal blocks of ids have equal seeds."""
    blocks = [ids[i : i + _BLOCK] for i in range(0, len(ids), _BLOCK)]
    return tuple(Segment(_number(block), len(block)) for block in blocks)


def _number(block: list[Any]) -> int:
    digest = blake2b(json.dumps(block).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def _ids_key(ids: list[Any]) -> str:
    return blake2b(json.dumps(ids).encode(), digest_size=16).hexdigest()


async def _json_body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    return body if isinstance(body, Mapping) else {}


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _error(status: int, message: str, kind: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)


async def _cut(response: web.StreamResponse, request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of a stream."""
    if request.transport is not None:
        request.transport.abort()
    return response
