"""Probe to server: requests, their records, and the load generator."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


@dataclass(frozen=True)
class Segment:
    """A stretch of prompt: the same seed and length are the same tokens, everywhere."""

    seed: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked.

    Either literal (`text`, sent as a chat message if `chat`), or synthetic: segments that the
    client turns into exactly so many tokens. Two prompts share a prefix only where their leading
    segments are equal: a prefix cache hit must be asked for.
    """

    segments: tuple[Segment, ...] = ()
    text: str | None = None
    chat: bool = False

    @property
    def tokens(self) -> int | None:
        """Exact length of a synthetic prompt; None for literal text."""
        return sum(s.tokens for s in self.segments) if self.text is None else None


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One request for text.

    Attributes:
        request_id: Unique within a load.
        max_tokens: Most tokens to generate.
        ignore_eos: Generate exactly `max_tokens`.
        timeout_s: For the whole request.
        logprobs: Top log-probabilities per generated token to ask for, None for none.
        prompt_logprobs: The same for the prompt's own tokens (teacher-forced).
        extra: Further fields of the request's JSON body.
    """

    request_id: str
    prompt: Prompt
    max_tokens: int
    ignore_eos: bool = True
    temperature: float = 0.0
    timeout_s: float = 600.0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class RequestErrorKind(StrEnum):
    """Why a request gave no good answer."""

    REFUSED = "refused"  # no connection
    STATUS = "status"  # an HTTP status other than 200
    CUT_OFF = "cut_off"  # the stream ended before its end mark
    IN_STREAM = "in_stream"  # the stream carried an error
    EMPTY = "empty"  # no content at all
    WRONG_LENGTH = "wrong_length"  # not the number of tokens asked for
    MALFORMED = "malformed"  # not what the protocol says
    TIMEOUT = "timeout"
    NO_USAGE = "no_usage"  # answered, but tokens cannot be counted


@dataclass(frozen=True, kw_only=True)
class RequestError:
    """A request that failed, as data; the client never raises."""

    kind: RequestErrorKind
    message: str
    status: int | None = None


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """What became of one request; all times on the study's monotonic clock.

    Attributes:
        scheduled_ns: When it should have been sent.
        sent_ns: When it was.
        first_token_ns: First content-bearing chunk.
        chunk_ns: Every content-bearing chunk, the first included.
        end_ns: End of the stream or of the attempt.
        prompt_tokens: By the server's usage, never counted from chunks.
        output_tokens: By the server's usage.
        cached_tokens: Prompt tokens that came from a cache, where the server says.
        raw: Parsed extras (log-probabilities), where asked for.
    """

    request_id: str
    scheduled_ns: int
    sent_ns: int
    first_token_ns: int | None = None
    chunk_ns: Sequence[int] = ()
    end_ns: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None
    text: str = ""
    error: RequestError | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ttft_ns(self) -> int | None:
        """First content-bearing chunk - sent."""
        return None if self.first_token_ns is None else self.first_token_ns - self.sent_ns


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """Status and body of a plain request."""

    status: int
    text: str


class Client(Protocol):
    """Talks to one server."""

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Send and follow one request to its end. Raises nothing but cancellation."""
        ...

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """GET a path such as /metrics; None if nobody answers."""
        ...

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """POST JSON to a path; None if nobody answers."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """A set of requests and when they go out.

    Attributes:
        requests: In order of sending.
        concurrency: Closed loop: so many in flight, the next as one ends. Ignored with offsets.
        offsets_ns: Open loop: when each goes out after the start; as long as `requests`.
        warmup_requests: The first so many are sent, checked and left out of the window.
        deadline_s: Whatever still runs then is cut off and counts as timed out.
        max_client_lag_ns: How late the client may be before its figures count as its own; None
            for the load generator's own bounds.
    """

    requests: tuple[GenerationRequest, ...]
    concurrency: int = 1
    offsets_ns: tuple[int, ...] | None = None
    warmup_requests: int = 0
    deadline_s: float = 1800.0
    max_client_lag_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load gave.

    Attributes:
        records: One per request, in order of the plan.
        start_ns: First request sent.
        end_ns: Last one ended.
        schedule_lag_p99_ns: How late requests left; the client's own fault.
        client_cpu_ratio: Busiest client process: CPU time / wall time; None where unknown.
        client_bound: Why the client and not the server set the figures; None if it did not.
        client_is_realtime: Whether every client process had real-time priority; None where the
            load was not sent by processes of its own.
    """

    records: tuple[RequestRecord, ...]
    start_ns: int
    end_ns: int
    schedule_lag_p99_ns: int | None = None
    client_cpu_ratio: float | None = None
    client_bound: str | None = None
    client_is_realtime: bool | None = None


class LoadGenerator(Protocol):
    """Sends a load and records it."""

    async def run(self, plan: LoadPlan) -> LoadResult:
        """Send everything; return when the last request ended. Raises only cancellation."""
        ...


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The two ways to talk to one server."""

    client: Client
    load: LoadGenerator


class Connector(Protocol):
    """Opens connections; `async with connect(base_url=..., model=...) as connection:`."""

    def __call__(self, *, base_url: str, model: str) -> AbstractAsyncContextManager[Connection]:
        """Connect to a server that serves `model`."""
        ...
