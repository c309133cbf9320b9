"""The in-process client of a simulated server: no sockets, the study's clock."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from autotune.clock import Clock
from autotune.engines.simulated.server import Answer, EngineDied, SimulatedServer
from autotune.engines.simulated.text import Words, prompt_logprobs
from autotune.engines.simulated.words import ENGINE_DEAD
from autotune.seams.requests import (
    GenerationRequest,
    HttpAnswer,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)

_PLAIN_S: Final = 0.001
"""What a plain request takes."""

FindServer = Callable[[], SimulatedServer | None]


class SimulatedClient:
    """Talks to whatever server is up.

    Args:
        clock: Of the study.
        find: The server; None while nobody listens.
    """

    def __init__(self, clock: Clock, find: FindServer) -> None:
        self._clock, self._find = clock, find

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Send and follow one request to its end."""
        sent_ns = self._clock.now_ns()
        scheduled = sent_ns if scheduled_ns is None else scheduled_ns

        def failed(
            kind: RequestErrorKind, message: str, status: int | None = None
        ) -> RequestRecord:
            return RequestRecord(
                request_id=request.request_id,
                scheduled_ns=scheduled,
                sent_ns=sent_ns,
                end_ns=self._clock.now_ns(),
                error=RequestError(kind=kind, message=message, status=status),
            )

        server = self._find()
        if server is None:
            return failed(RequestErrorKind.REFUSED, "nobody listens")
        if server.core.is_stopped:
            return failed(RequestErrorKind.STATUS, ENGINE_DEAD, 500)
        sequence = server.sequence(request.prompt, request.max_tokens)
        objection = server.objection(sequence.prompt_tokens, request.max_tokens)
        if objection is not None:
            await self._clock.sleep(_PLAIN_S)
            return failed(RequestErrorKind.STATUS, objection, 400)
        try:
            async with asyncio.timeout(request.timeout_s):
                answer = await server.answer(sequence)
        except TimeoutError:
            message = f"no end within {request.timeout_s:g} s"
            return failed(RequestErrorKind.TIMEOUT, message)
        except EngineDied:
            return failed(RequestErrorKind.CUT_OFF, "the stream ended before its end mark")
        return self._record(request, scheduled, sent_ns, answer)

    def _record(
        self,
        request: GenerationRequest,
        scheduled_ns: int,
        sent_ns: int,
        answer: Answer,
    ) -> RequestRecord:
        chunks = answer.chunks_ns
        text, raw = _content(request, len(chunks), answer)
        return RequestRecord(
            request_id=request.request_id,
            scheduled_ns=scheduled_ns,
            sent_ns=sent_ns,
            first_token_ns=chunks[0] if chunks else None,
            chunk_ns=chunks,
            end_ns=max(self._clock.now_ns(), chunks[-1] if chunks else 0),
            prompt_tokens=answer.prompt_tokens,
            output_tokens=answer.output_tokens,
            cached_tokens=answer.cached_tokens,
            finish_reason="length",
            text=text,
            raw=raw,
        )

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """GET a path; None if nobody listens."""
        del timeout_s
        server = self._find()
        if server is None:
            return None
        await self._clock.sleep(_PLAIN_S)
        return server.get(path)

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """POST JSON to a path; None if nobody listens."""
        del timeout_s
        server = self._find()
        if server is None:
            return None
        await self._clock.sleep(_PLAIN_S)
        return server.post(path, body)


def _content(request: GenerationRequest, chunks: int, answer: Answer) -> tuple[str, dict[str, Any]]:
    """Text and log-probabilities, as far as somebody will look at them."""
    question, count = request.prompt.text, answer.output_tokens
    key = question or repr(request.prompt.segments)
    said = Words(key, question=question or "")
    raw: dict[str, Any] = {}
    if request.logprobs is not None:
        tokens = [said.token(index) for index in range(count)]
        raw = {
            "tokens": tuple(t.text for t in tokens),
            "logprobs": tuple(t.logprob for t in tokens),
            "top_logprobs": tuple(t.others for t in tokens),
        }
    if request.prompt_logprobs is not None:
        raw["prompt_logprobs"] = tuple(prompt_logprobs(key, answer.prompt_tokens))
    return ("" if question is None else said.text(chunks)), raw
