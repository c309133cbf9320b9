"""Requests for text as OpenAI's protocol has them, and the answers to them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from aiohttp import web

from autotune.engines.simulated.sequence import Sequence
from autotune.engines.simulated.text import Words
from autotune.seams.requests import Prompt, Segment

_BLOCK: Final = 16
"""Token ids of a prompt become segments of so many: equal leading ids are equal segments."""


class Asked:
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


class Events:
    """Writes the events of one stream."""

    def __init__(self, response: web.StreamResponse, head: Mapping[str, Any], asked: Asked) -> None:
        self._response, self._head, self._asked = response, head, asked
        self._sent = 0
        self.chunks = 0

    async def tokens(self, count: int, *, empty: bool) -> None:
        """A chunk with so many tokens."""
        words = self._asked.words
        text = "".join(words.token(self._sent + i).text for i in range(count))
        choice = self._choice("" if empty else text, finish=None)
        choice["logprobs"] = logprobs_of(self._asked, self._sent, count)
        self._sent += count
        self.chunks += 1
        await self._response.write(event_bytes({**self._head, "choices": [choice]}))

    async def finish(self) -> None:
        """The chunk that gives the reason of the end."""
        choice = self._choice("", finish="length")
        await self._response.write(event_bytes({**self._head, "choices": [choice]}))

    async def usage(self, usage: Mapping[str, Any]) -> None:
        """The chunk that counts tokens."""
        await self._response.write(event_bytes({**self._head, "choices": [], "usage": usage}))

    async def error(self, message: str) -> None:
        """The chunk that carries an error."""
        with suppress(ConnectionError):
            await self._response.write(event_bytes({"error": {"message": message, "code": 500}}))

    async def done(self) -> None:
        """The end mark."""
        await self._response.write(b"data: [DONE]\n\n")

    def _choice(self, text: str, *, finish: str | None) -> dict[str, Any]:
        content = {"delta": {"content": text}} if self._asked.chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish}


def logprobs_of(asked: Asked, start: int, count: int) -> dict[str, Any] | None:
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


def usage_of(sequence: Sequence, count: int) -> dict[str, Any]:
    """The usage of a request with so many output tokens."""
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


def event_bytes(value: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
