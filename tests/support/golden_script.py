"""What the golden server says, as pure data and functions: scripts, tokens, bytes, counts."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

BLOCK_TOKENS = 16
FAULTS = (
    "hang_up",  # closes the connection without a word
    "status",  # answers with an HTTP error
    "cut_off",  # closes the connection in the middle
    "no_end_mark",  # ends the stream properly but without [DONE]
    "empty",  # no content
    "wrong_length",  # fewer tokens than asked for, and usage says so
    "error_in_stream",
    "stall",  # goes silent
    "malformed",  # an event that is no JSON
    "malformed_http",  # a chunk size that is no number
    "no_usage",
    "truncated_prompt",  # counts half of the prompt
)


@dataclass(frozen=True, kw_only=True)
class Script:
    """How a request is answered.

    Attributes:
        tokens_per_chunk: Tokens in one content-bearing chunk.
        empty_chunks: Chunks without content before the first that has some.
        split_bytes: Write in pieces of so many bytes; 0 writes a chunk at once.
        lockstep: All streams send at common ticks, as an engine's steps make them.
        end_spread_ms: Ends come up to so much after the last chunk, each request's by its number:
            so a closed loop does not march in step.
        fault: One of FAULTS, or empty.
        fault_after: Chunks that are sent before the fault.
        status: Of the fault "status".
        text: "words", "loop" or "control": what the answer says.
        cut_share: Share of `max_tokens` after which an answer stops of itself (no `ignore_eos`).
        logprob_scale: Factor on the log-probabilities of prompts longer than `scale_beyond`.
        logprob_noise: Relative noise on every log-probability, seeded by the request's number.
        template_tokens: Tokens that the chat template adds.
        truncates_beyond: Prompts are cut to so many tokens, and counted so.
        forgets_beyond: Prompts longer than this are answered without what they hide.
        other_words_beyond: Prompts longer than this are answered with other words.
    """

    ttft_ms: float = 5.0
    itl_ms: float = 2.0
    tokens_per_chunk: int = 1
    empty_chunks: int = 0
    split_bytes: int = 0
    lockstep: bool = False
    end_spread_ms: float = 0.0
    fault: str = ""
    fault_after: int = 3
    status: int = 500
    text: str = "words"
    cut_share: float = 1.0
    logprob_scale: float = 1.0
    scale_beyond: int = 0
    logprob_noise: float = 0.0
    template_tokens: int = 4
    truncates_beyond: int = 10**9
    forgets_beyond: int = 10**9
    other_words_beyond: int = 10**9
    added_tokens: int = 0
    token_ids: bool = True
    tokenize: bool = True

    def updated(self, values: dict[str, Any]) -> "Script":
        """A copy with some fields set; a name that does not exist is an error."""
        return replace(self, **values)


@dataclass(kw_only=True)
class Seen:
    """One request and what was done about it.

    Attributes:
        number: Of the answer: its id is `cmpl-golden-` and this.
        received_ns: Its last byte was read.
        late_ns: How late the latest chunk was sent, by the script.
        sends_ns: Each content-bearing chunk, taken just before it was handed to the system.
    """

    request_id: str
    path: str
    number: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    received_ns: int = 0
    sends_ns: list[int] = field(default_factory=list)
    ended_ns: int = 0
    late_ns: int = 0
    fault: str = ""

    def brief(self) -> dict[str, Any]:
        """Without the single chunks: the first send and how many there were."""
        row = {name: value for name, value in vars(self).items() if name != "sends_ns"}
        return {**row, "first_send_ns": next(iter(self.sends_ns), None),
                "chunks": len(self.sends_ns)}  # fmt: skip


class State:
    """What the server knows."""

    def __init__(self, script: Script, model: str) -> None:
        self.script = script
        self.model = model
        self.seen: list[Seen] = []
        self.blocks: set[int] = set()
        self.queries = self.hits = self.running = 0

    def prefix_hit(self, ids: list[int]) -> int:
        """Leading tokens that were seen before, in whole blocks, the last token left out."""
        hit, key, matching = 0, 0, True
        for start in range(0, len(ids) - BLOCK_TOKENS, BLOCK_TOKENS):
            key = hash((key, *ids[start : start + BLOCK_TOKENS]))
            matching = matching and key in self.blocks
            hit += BLOCK_TOKENS * matching
            self.blocks.add(key)
        self.queries += len(ids)
        self.hits += hit
        return hit

    def metrics(self) -> str:
        """Prometheus text with vLLM's names."""
        values = {
            "vllm:num_requests_running": self.running,
            "vllm:num_requests_waiting": 0,
            "vllm:kv_cache_usage_perc": 0.25,
            "vllm:num_preemptions_total": 0,
            "vllm:prefix_cache_queries_total": self.queries,
            "vllm:prefix_cache_hits_total": self.hits,
            "vllm:prompt_tokens_total": sum(s.prompt_tokens for s in self.seen),
            "vllm:generation_tokens_total": sum(s.output_tokens for s in self.seen),
        }
        return "".join(
            f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}\n"
            f'{name}{{engine="0",model_name="{self.model}"}} {float(value)}\n'
            for name, value in values.items()
        )


def word_id(word: str) -> int:
    """The one token of a word."""
    return 1000 + int.from_bytes(word.encode()[:4].ljust(4, b"\0")) % 30_000


@dataclass(frozen=True)
class Words:
    """What an answer says, token by token.

    Attributes:
        kind: See `Script.text`.
        offset: Added to the number in each word: another offset is another answer.
        first: Said instead of the first token.
    """

    kind: str = "words"
    offset: int = 0
    first: str = ""

    def text(self, index: int) -> str:
        """The index-th token."""
        if self.first and index == 0:
            return self.first
        if self.kind == "loop":
            return (" again", " and")[index % 2]
        return "\x07" if self.kind == "control" else f" w{index + self.offset}"

    def joined(self, start: int, end: int) -> str:
        """Tokens from `start` up to `end`."""
        return "".join(self.text(i) for i in range(start, end))


def words_for(body: dict[str, Any], script: Script, ids: list[int]) -> Words:
    """The answer to a request: a number that its text hides, if it is remembered, comes first."""
    asked = body["messages"][0]["content"] if "messages" in body else ""
    owner = re.search(r"number of the (\w+)\?", asked)
    hidden = owner and re.search(rf"{owner[1]} is (\d+)\.", asked)
    if len(ids) > script.forgets_beyond:
        hidden = None
    return Words(
        script.text,
        offset=500 if len(ids) > script.other_words_beyond else 0,
        first=f" {hidden[1]}" if hidden else "",
    )


def prompt_ids(body: dict[str, Any], script: Script) -> list[int]:
    """The prompt's tokens: ids as they are, else one per word, and what the server adds."""
    if "messages" in body:
        words = " ".join(str(m["content"]) for m in body["messages"]).split()
        ids = [1] * script.template_tokens + [word_id(w) for w in words]
    elif isinstance(body["prompt"], list):
        ids = [int(t) for t in body["prompt"]]
    else:
        ids = [1] * script.added_tokens + [word_id(w) for w in body["prompt"].split()]
    return ids[: script.truncates_beyond]


def logprob(token: int, index: int, seen: int, script: Script, length: int) -> float:
    """A fixed log-probability for a token at a place; scaled and shaken as the script says."""
    value = -((token * 7919 + index * 104_729) % 1000) / 125
    if length > script.scale_beyond:
        value *= script.logprob_scale
    shaken = ((seen * 2_654_435_761 + index * 40_503) % 2001 - 1000) / 1000
    return value * (1 + script.logprob_noise * shaken * 1.73)


class Frames:
    """The bytes of every chunk; plain ones are made once, for sending must cost little."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._made: dict[tuple[bool, int, Words], list[bytes]] = {}

    def content(self, words: Words, *, chat: bool, count: int, size: int) -> list[bytes]:
        """The first `count` content-bearing chunks with `size` tokens each."""
        frames = self._made.setdefault((chat, size, words), [])
        while len(frames) < count:
            start = len(frames) * size
            text = words.joined(start, start + size)
            frames.append(chunk(self.event(chat=chat, text=text)))
        return frames

    def with_logprobs(
        self, words: Words, *, chat: bool, count: int, value: Callable[[int], float]
    ) -> list[bytes]:
        """One token per chunk with its log-probability and that of one other."""
        frames = []
        for index in range(count):
            text, at = words.text(index), value(index)
            top = {text: at, " other": at - 3.0}
            logprobs: dict[str, Any] = {
                "tokens": [text], "token_logprobs": [at], "top_logprobs": [top],
            }  # fmt: skip
            if chat:
                listed = [{"token": t, "logprob": v} for t, v in top.items()]
                logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
            frames.append(chunk(self.event(chat=chat, text=text, logprobs=logprobs)))
        return frames

    def event(
        self,
        *,
        chat: bool,
        text: str,
        finish: str | None = None,
        logprobs: object = None,
        number: int = 0,
    ) -> dict[str, Any]:
        """One event's object; `number` tells answers apart, in the first event of each."""
        said: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": logprobs, "finish_reason": finish}
        kind = "chat.completion.chunk" if chat else "text_completion"
        return {
            "id": f"cmpl-golden-{number}", "object": kind, "created": 1, "model": self._model,
            "choices": [choice], "usage": None,
        }  # fmt: skip


def sse(event: dict[str, Any] | str) -> bytes:
    """An event as server-sent."""
    text = event if isinstance(event, str) else json.dumps(event, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def http_chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def chunk(event: dict[str, Any] | str) -> bytes:
    """An event as a chunk of its own."""
    return http_chunk(sse(event))


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def whole_answer(
    state: State, script: Script, body: dict[str, Any], ids: list[int]
) -> dict[str, Any]:
    """An answer in one piece, with the prompt's log-probabilities where asked for."""
    tokens = int(body["max_tokens"])
    words = words_for(body, script, ids).joined(0, tokens)
    said: dict[str, Any] = (
        {"message": {"role": "assistant", "content": words}}
        if "messages" in body
        else {"text": words}
    )
    choice: dict[str, Any] = {"index": 0, **said, "finish_reason": "length"}
    if body.get("prompt_logprobs") is not None:
        number = len(state.seen)
        rows: list[dict[str, Any] | None] = [
            {str(t): {"logprob": logprob(t, i, number, script, len(ids)), "rank": 1}}
            for i, t in enumerate(ids)
        ]
        choice["prompt_logprobs"] = [None, *rows[1:]]
    counted = len(ids) // (2 if script.fault == "truncated_prompt" else 1)
    usage = {"prompt_tokens": counted, "completion_tokens": tokens}
    return {"id": "cmpl-golden", "model": state.model, "choices": [choice], "usage": usage}
