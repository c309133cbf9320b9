"""OpenAI's completions: what is asked, and how a stream of events is understood.

Pure: `request_body` writes the JSON, `Collector` takes events with their arrival times and ends
in a `RequestRecord`. Every way in which an answer can be bad becomes a `RequestError` here.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import orjson

from autotune.seams.requests import (
    GenerationRequest,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)

COMPLETIONS_PATH: Final = "/v1/completions"
CHAT_PATH: Final = "/v1/chat/completions"

DONE: Final = b"[DONE]"

_NO_CONTENT: Final = frozenset({b'"', b""})
"""What follows the key where the text is empty, or where the payload breaks off."""
_CONTENT_KEYS: Final = {True: b'"content":"', False: b'"text":"'}
_EXCERPT_CHARACTERS: Final = 300


def path_of(request: GenerationRequest) -> str:
    """Where a request goes: synthetic and plain prompts to completions, chat to chat."""
    return CHAT_PATH if request.prompt.chat else COMPLETIONS_PATH


def request_body(
    request: GenerationRequest, *, model: str, prompt: str | Sequence[int], stream: bool = True
) -> bytes:
    """The request's JSON.

    Args:
        request: What is asked.
        model: Name under which the server serves it.
        prompt: Text, or token ids, which vLLM's /v1/completions takes as they are.
        stream: Answers come as events; vLLM refuses `prompt_logprobs` in a stream.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    if request.prompt.chat:
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    if request.ignore_eos:
        # Past the end of the text come special tokens, whose text vLLM and SGLang leave out: their
        # chunks would be empty, and an answer that ends at once would have no content at all.
        body.update(ignore_eos=True, skip_special_tokens=False)
    if request.logprobs is not None:
        if request.prompt.chat:
            body.update(logprobs=True, top_logprobs=request.logprobs)
        else:
            body["logprobs"] = request.logprobs
    if request.prompt_logprobs is not None:
        body["prompt_logprobs"] = request.prompt_logprobs
    body.update(request.extra)
    return orjson.dumps(body)


class Collector:
    """Gathers one answer.

    The path of a chunk is kept short, for it is what the client costs per token: a chunk that
    plainly carries content and nothing else is stamped without being parsed. That is safe: within
    a JSON string a quote is escaped, so `"text":"` can only be a key with its value.
    """

    __slots__ = (
        "_chat",
        "_content_key",
        "_request",
        "_text",
        "_tokens",
        "_want_text",
        "chunk_ns",
        "done",
        "end_ns",
        "error",
        "finish_reason",
        "scheduled_ns",
        "sent_ns",
        "usage",
    )

    def __init__(self, request: GenerationRequest, *, scheduled_ns: int) -> None:
        self._request = request
        self._chat = request.prompt.chat
        self._content_key = _CONTENT_KEYS[self._chat]
        self._want_text = request.prompt.text is not None or request.logprobs is not None
        self._text: list[str] = []
        self._tokens: list[_Token] = []
        self.chunk_ns: array[int] = array("q")
        self.done = False
        self.end_ns = 0
        self.error: RequestError | None = None
        self.finish_reason: str | None = None
        self.scheduled_ns = scheduled_ns
        self.sent_ns = scheduled_ns
        self.usage: Mapping[str, Any] | None = None

    @property
    def max_tokens(self) -> int:
        """Of the answer, as asked for."""
        return self._request.max_tokens

    def event(self, payload: bytes, at_ns: int) -> None:
        """Take one event's payload that arrived at `at_ns`."""
        if not self._want_text:
            key = self._content_key
            at = payload.find(key)
            if (
                at >= 0
                and payload[at + len(key) : at + len(key) + 1] not in _NO_CONTENT
                and b'"finish_reason":null' in payload
                and b'"usage":{' not in payload
            ):
                self.chunk_ns.append(at_ns)
                return
        if payload == DONE:
            self.done = True
            self.end_ns = at_ns
            return
        self._parsed(payload, at_ns)

    def fail(self, kind: RequestErrorKind, message: str, *, status: int | None = None) -> None:
        """Note an error; the first one stays."""
        if self.error is None:
            self.error = RequestError(kind=kind, message=message, status=status)

    def record(self, *, end_ns: int) -> RequestRecord:
        """Judge the answer; `end_ns` is used if no end mark was seen."""
        if self.error is None and not self.done:
            self.fail(RequestErrorKind.CUT_OFF, "the stream ended before [DONE]")
        if self.error is None:
            self._check()
        usage = self.usage or {}
        details = usage.get("prompt_tokens_details")
        return RequestRecord(
            request_id=self._request.request_id,
            scheduled_ns=self.scheduled_ns,
            sent_ns=self.sent_ns,
            first_token_ns=self.chunk_ns[0] if self.chunk_ns else None,
            chunk_ns=self.chunk_ns,
            end_ns=self.end_ns or end_ns,
            prompt_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
            cached_tokens=_count(details.get("cached_tokens"))
            if isinstance(details, Mapping)
            else None,
            finish_reason=self.finish_reason,
            text="".join(self._text),
            error=self.error,
            raw=_raw(self._tokens),
        )

    def _parsed(self, payload: bytes, at_ns: int) -> None:
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self.fail(RequestErrorKind.MALFORMED, f"an event is no JSON: {excerpt(payload)}")
            return
        if not isinstance(event, dict):
            self.fail(RequestErrorKind.MALFORMED, f"an event is no object: {excerpt(payload)}")
            return
        if event.get("error") is not None:
            self.fail(RequestErrorKind.IN_STREAM, excerpt(payload))
            return
        usage, choices = event.get("usage"), event.get("choices")
        if isinstance(usage, dict):
            self.usage = usage
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            try:
                self._choice(choices[0], at_ns)
            except (KeyError, TypeError, ValueError):
                self.fail(RequestErrorKind.MALFORMED, f"a strange choice: {excerpt(payload)}")
        elif not isinstance(choices, list) and usage is None:
            self.fail(RequestErrorKind.MALFORMED, f"no choices: {excerpt(payload)}")

    def _choice(self, choice: Mapping[str, Any], at_ns: int) -> None:
        if choice.get("finish_reason") is not None:
            self.finish_reason = str(choice["finish_reason"])
        text = _content(choice, chat=self._chat)
        if text:
            self.chunk_ns.append(at_ns)
            if self._want_text:
                self._text.append(text)
        if self._request.logprobs is not None:
            self._tokens.extend(_token_logprobs(choice.get("logprobs")))

    def _check(self) -> None:
        asked = self._request
        if not self.chunk_ns:
            self.fail(RequestErrorKind.EMPTY, "the answer has no content")
            return
        if self.finish_reason in {"abort", "error"}:
            self.fail(RequestErrorKind.CUT_OFF, f"finish_reason is {self.finish_reason}")
            return
        usage = self.usage or {}
        got = _count(usage.get("completion_tokens"))
        prompt = _count(usage.get("prompt_tokens"))
        if got is None or prompt is None:
            self.fail(RequestErrorKind.NO_USAGE, "the server gave no usage")
        elif got > asked.max_tokens or (asked.ignore_eos and got != asked.max_tokens):
            message = f"{got} output tokens, asked for {asked.max_tokens}"
            self.fail(RequestErrorKind.WRONG_LENGTH, message)
        elif asked.prompt.tokens is not None and prompt != asked.prompt.tokens:
            message = f"the server counts {prompt} prompt tokens, sent {asked.prompt.tokens}"
            self.fail(RequestErrorKind.WRONG_LENGTH, message)


def excerpt(payload: bytes) -> str:
    """The beginning of a payload, for a message."""
    return payload[:_EXCERPT_CHARACTERS].decode("utf-8", "replace")


def _content(choice: Mapping[str, Any], *, chat: bool) -> str:
    """The text that a choice carries; reasoning and tool calls are content as well."""
    if not chat:
        text = choice.get("text")
        return text if isinstance(text, str) else ""
    delta = choice.get("delta") or choice.get("message")
    if not isinstance(delta, Mapping):
        return ""
    for key in ("content", "reasoning_content", "reasoning"):
        if isinstance(delta.get(key), str) and delta[key]:
            return str(delta[key])
    calls = delta.get("tool_calls")
    return orjson.dumps(calls).decode() if calls else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class _Token:
    """A generated token as the server tells of it."""

    text: str
    logprob: float
    top: Mapping[str, float]


def _token_logprobs(logprobs: object) -> list[_Token]:
    """Tokens and their log-probabilities, of either of OpenAI's two shapes."""
    if not isinstance(logprobs, Mapping):
        return []
    if isinstance(logprobs.get("content"), list):
        return [
            _Token(
                str(t["token"]),
                float(t["logprob"]),
                {str(o["token"]): float(o["logprob"]) for o in t.get("top_logprobs") or ()},
            )
            for t in logprobs["content"]
        ]
    tops = logprobs.get("top_logprobs") or ()
    return [
        _Token(str(token), float(value), dict(top or {}))
        for token, value, top in zip_longest(
            logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), tops
        )
        if value is not None
    ]


def _raw(tokens: Sequence[_Token]) -> Mapping[str, Any]:
    if not tokens:
        return {}
    return {
        "tokens": tuple(t.text for t in tokens),
        "logprobs": tuple(t.logprob for t in tokens),
        "top_logprobs": tuple(t.top for t in tokens),
    }


def whole_answer(collector: Collector, body: bytes, at_ns: int) -> dict[str, Any] | None:
    """Take an answer that came in one piece (`stream` false); None if it is malformed."""
    collector.event(body, at_ns)
    collector.done = True
    collector.end_ns = at_ns
    if collector.error is not None:
        return None
    answer: dict[str, Any] = orjson.loads(body)
    return answer
