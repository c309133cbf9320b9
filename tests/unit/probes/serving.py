"""A server of known pace under the virtual clock, and contexts that ask it.

It reads 10,000 prompt tokens/s of what no cache holds, then gives a token every 10 ms. Its GPU
cache holds `kv_tokens` of least recently used segments, its offload cache `offload_tokens`.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autotune.clock import VirtualClock
from autotune.load.runner import InProcessLoad
from autotune.records import Applied, Configuration, ProbeResult
from autotune.seams.probe import Probe, ProbeContext, Readiness
from autotune.seams.requests import (
    GenerationRequest,
    HttpAnswer,
    LoadPlan,
    LoadResult,
    RequestError,
    RequestErrorKind,
    RequestRecord,
    Segment,
)
from autotune.spec.workload import Workload

PREFILL_TOKENS_PER_S = 10_000
GAP_NS = 10_000_000
MS = 1_000_000

SMALL = Workload(requests=8, concurrency=4, warmup_requests=2, prompt_tokens=100, output_tokens=11)


class Lru:
    """Segments that a cache holds, the least recently used evicted first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: OrderedDict[Segment, None] = OrderedDict()

    def touch(self, segment: Segment) -> bool:
        """Whether it was held; now it is, if there is room at all."""
        held = segment in self._held
        self._held[segment] = None
        self._held.move_to_end(segment)
        while sum(s.tokens for s in self._held) > self.capacity:
            self._held.popitem(last=False)
        return held


@dataclass
class Server:
    """The fake; `faults` says which request numbers fail, and how.

    Attributes:
        dies_after: Answers so many requests, then nobody is there.
        hangs: Answers /health but no request.
    """

    clock: VirtualClock
    kv_tokens: int = 10**9
    offload_tokens: int = 0
    faults: Mapping[int, RequestErrorKind] = field(default_factory=dict)
    dies_after: int | None = None
    hangs: bool = False
    refuses_chat: bool = False
    asked: list[GenerationRequest] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._gpu, self._offload = Lru(self.kv_tokens), Lru(self.offload_tokens)
        self.counters = dict.fromkeys(
            ("prefix_queries_tokens", "prefix_hits_tokens", "offload_queries_tokens",
             "offload_hits_tokens", "preemptions_count"), 0.0)  # fmt: skip

    @property
    def is_dead(self) -> bool:
        return self.dies_after is not None and len(self.asked) > self.dies_after

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        number = len(self.asked)
        self.asked.append(request)
        sent_ns = self.clock.now_ns()
        record = RequestRecord(
            request_id=request.request_id,
            scheduled_ns=sent_ns if scheduled_ns is None else scheduled_ns,
            sent_ns=sent_ns,
        )
        if self.hangs:
            await self.clock.sleep(request.timeout_s)
            return self._failed(record, RequestErrorKind.TIMEOUT)
        if self.is_dead:
            return self._failed(record, RequestErrorKind.REFUSED)
        if self.refuses_chat and request.prompt.chat:
            return self._failed(record, RequestErrorKind.STATUS)
        await self.clock.sleep(self._to_compute(request) / PREFILL_TOKENS_PER_S)
        first_ns = self.clock.now_ns()
        count = request.max_tokens
        await self.clock.sleep((count - 1) * GAP_NS / 1e9)
        good = replace(
            record,
            first_token_ns=first_ns,
            chunk_ns=tuple(first_ns + GAP_NS * i for i in range(count)),
            end_ns=self.clock.now_ns(),
            prompt_tokens=request.prompt.tokens or 10,
            output_tokens=count,
        )
        return self._failed(good, self.faults[number]) if number in self.faults else good

    def _failed(self, record: RequestRecord, kind: RequestErrorKind) -> RequestRecord:
        return replace(
            record, end_ns=self.clock.now_ns(), error=RequestError(kind=kind, message="as scripted")
        )

    def _to_compute(self, request: GenerationRequest) -> int:
        left = 0 if request.prompt.segments else 10
        for segment in request.prompt.segments:
            self.counters["prefix_queries_tokens"] += segment.tokens
            if self._gpu.touch(segment):
                self.counters["prefix_hits_tokens"] += segment.tokens
                continue
            self.counters["offload_queries_tokens"] += segment.tokens
            if self._offload.touch(segment):
                self.counters["offload_hits_tokens"] += segment.tokens
                continue
            left += segment.tokens
        return left

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        if self.is_dead:
            return None
        return HttpAnswer(status=200, text="metrics" if path == "/metrics" else "")

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        return None

    def gauges(self, text: str) -> Mapping[str, float | None]:
        """What the engine would read out of its metrics' text."""
        assert text == "metrics"
        return dict(self.counters)


class BoundLoad:
    """A load generator that cannot keep up with some loads, warm-ups not counted."""

    def __init__(self, inner: InProcessLoad, bound: Collection[int]) -> None:
        self._inner = inner
        self._bound = bound
        self._sent = 0

    async def run(self, plan: LoadPlan) -> LoadResult:
        result = await self._inner.run(plan)
        if len(plan.requests) <= SMALL.warmup_requests:
            return result
        self._sent += 1
        is_bound = self._sent - 1 in self._bound
        return replace(result, client_bound="too slow") if is_bound else result


class RankedLoad:
    """A load generator that tells of its processes' priority."""

    def __init__(self, inner: InProcessLoad, *, is_realtime: bool) -> None:
        self._inner = inner
        self._is_realtime = is_realtime

    async def run(self, plan: LoadPlan) -> LoadResult:
        return replace(await self._inner.run(plan), client_is_realtime=self._is_realtime)


def context(server: Server, **changes: Any) -> ProbeContext:
    """What a probe gets, with changes."""
    made = ProbeContext(
        client=server,
        load=InProcessLoad(server, server.clock),
        clock=server.clock,
        workload=SMALL,
        configuration=Configuration(),
        applied=Applied(),
        readiness=Readiness(started_ns=0, healthy_ns=0),
        timeline=(),
        gauges=server.gauges,
        seed=7,
    )
    return replace(made, **changes)


def ask(
    probe: Probe, make: Callable[[VirtualClock], Server] = Server, **changes: Any
) -> tuple[ProbeResult, Server]:
    """Run a probe on a fresh server."""
    clock = VirtualClock()
    server = make(clock)
    return clock.run(probe.run(context(server, **changes))), server
