"""A simulated server once it is up: takes requests, answers plain paths, and can die.

Both faces share it: the in-process client under a virtual clock, and the HTTP server.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autotune.clock import Clock
from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated import exposition
from autotune.engines.simulated.blocks import BlockPool, spans
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.core import EngineCore
from autotune.engines.simulated.costs import CostModel, Jitter
from autotune.engines.simulated.frontend import Intake, chunk_times
from autotune.engines.simulated.memory_plan import MemoryPlan
from autotune.engines.simulated.offload import HostTier
from autotune.engines.simulated.prefix import PrefixIndex
from autotune.engines.simulated.scheduler import Scheduler
from autotune.engines.simulated.sequence import IntArray, Sequence
from autotune.engines.simulated.settings import ServeSettings
from autotune.engines.simulated.step import Step
from autotune.engines.simulated.text import token_ids
from autotune.seams.requests import HttpAnswer, Prompt, Segment
from autotune.units import NS_PER_S

_CHAT_TOKENS: Final = 20
"""What a chat template adds around one message."""


class EngineDied(Exception):  # noqa: N818 - told to whoever waits, turned into an answer
    """The engine is gone while a request was in it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request got.

    Attributes:
        chunks_ns: When chunks of tokens reached the client, in order.
        cached_tokens: Prompt tokens that came from a cache.
    """

    prompt_tokens: int
    output_tokens: int
    chunks_ns: tuple[int, ...]
    cached_tokens: int
    preemptions: int


class SimulatedServer:
    """One healthy server.

    Args:
        card: What it runs on.
        shape: Its model.
        settings: What it runs with.
        plan: Its memory.
        clock: Whose time passes.
        random: Source of its noise.
        streams: Whether tokens are handed out one by one (in real time).
    """

    def __init__(
        self,
        card: Card,
        shape: ModelShape,
        settings: ServeSettings,
        plan: MemoryPlan,
        clock: Clock,
        *,
        random: np.random.Generator,
        streams: bool = False,
    ) -> None:
        self.card, self.shape, self.settings, self.plan = card, shape, settings, plan
        self._clock = clock
        noise = card.noise
        draw = random.standard_normal(2)
        jitter = Jitter(gpu=float(1 + noise.gpu * draw[0]), host=float(1 + noise.host * draw[1]))
        self.costs = CostModel(card, shape, settings, jitter)
        caching = settings.prefix_caching
        tier = HostTier(plan.offload_blocks) if plan.offload_blocks else None
        scheduler = Scheduler(
            settings,
            shape,
            BlockPool(plan.blocks, caching=caching),
            tier,
            self.costs.transfer_s,
        )
        self.core = EngineCore(
            clock, scheduler, self.costs, noise=noise.iteration, random=random, streams=streams
        )
        self._index = PrefixIndex()
        self._intake = Intake(clock, self._share_of_intake)
        self._waiting: set[asyncio.Future[Sequence]] = set()
        self._streams: set[asyncio.Queue[int | None]] = set()

    # ---- requests ----

    def count_tokens(self, prompt: Prompt) -> int:
        """Length of a prompt; a word of literal text is one token, for there is no tokenizer."""
        exact = prompt.tokens
        if exact is not None:
            return exact
        words = len((prompt.text or "").split())
        return max(1, words) + (_CHAT_TOKENS if prompt.chat else 0)

    def objection(self, prompt_tokens: int, max_tokens: int) -> str | None:
        """Why a request is answered with status 400; None if it is not."""
        longest = self.plan.max_model_len
        if prompt_tokens + max_tokens > longest:
            return (
                f"This model's maximum context length is {longest} tokens. However, you requested "
                f"{max_tokens} output tokens and your prompt contains {prompt_tokens} input "
                f"tokens, for a total of {prompt_tokens + max_tokens} tokens. Please reduce the "
                "length of the input prompt or the number of requested output tokens."
            )
        return None

    def sequence(self, prompt: Prompt, max_tokens: int) -> Sequence:
        """A request as the scheduler sees it."""
        tokens = self.count_tokens(prompt)
        segments = prompt.segments
        if prompt.text is not None:
            digest = hashlib.sha256(prompt.text.encode()).digest()
            segments = (Segment(int.from_bytes(digest[:7], "big"), tokens),)
        chain = self._index.chain(segments)
        return Sequence(tokens, max_tokens, spans(chain, self.settings.block_size))

    async def answer(self, sequence: Sequence) -> Answer:
        """Let a request run to its end.

        Raises:
            EngineDied: If the engine goes meanwhile.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence] = loop.create_future()
        latency_s = self.costs.latency_s()

        def done(finished: Sequence) -> None:
            loop.call_later(latency_s, self._resolve, future, finished)

        self._waiting.add(future)
        self.enter(sequence, done)
        try:
            await future
        finally:
            self._waiting.discard(future)
            self.core.abort(sequence)
        stamps = sequence.token_stamps(self.core.scheduler.log)
        sent = chunk_times(stamps, self.settings.stream_interval, self.costs.sending)
        latency_ns = round(latency_s * NS_PER_S)
        return Answer(
            prompt_tokens=sequence.prompt_tokens,
            output_tokens=len(stamps),
            chunks_ns=tuple(time + latency_ns for time in sent),
            cached_tokens=sequence.cached_tokens or 0,
            preemptions=sequence.preemptions,
        )

    async def stream(self, sequence: Sequence) -> AsyncIterator[int]:
        """Let a request run and say how many new tokens there are, again and again.

        Raises:
            EngineDied: If the engine goes meanwhile.
        """
        queue: asyncio.Queue[int | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        told = given = 0

        def tell(step: Step, _ends: IntArray) -> None:
            nonlocal told
            concerned = sequence in step.decodes or any(s is sequence for s, _ in step.chunks)
            if concerned and sequence.generated_tokens > told:
                count = sequence.generated_tokens - told
                loop.call_later(self.core.held_back_s, queue.put_nowait, count)
                told = sequence.generated_tokens

        self.core.on_step(tell)
        self._streams.add(queue)
        self.enter(sequence, lambda _finished: None)
        try:
            while given < sequence.wanted_tokens:
                count = await queue.get()
                if count is None:
                    raise EngineDied
                given += count
                yield count
        finally:
            self.core.off_step(tell)
            self._streams.discard(queue)
            self.core.abort(sequence)

    def enter(self, sequence: Sequence, done: Callable[[Sequence], None]) -> None:
        """The API server takes a request in and hands it on."""
        if self.core.is_stopped:
            return
        loop, way_s = asyncio.get_running_loop(), self.costs.request_latency_s()

        def hand_on() -> None:
            loop.call_later(way_s, self.core.submit, sequence, done)

        self._intake.take(self.costs.admission_s(sequence.prompt_tokens), hand_on)

    def _share_of_intake(self, requests: int) -> float:
        """The API server's time that requests get beside the streams that run."""
        streams, iteration_s = self.core.pace()
        return self.costs.intake_share(requests, streams, iteration_s)

    def die(self) -> None:
        """The engine is gone; whoever waits is told."""
        self.core.stop()
        for future in self._waiting:
            if not future.done():
                future.set_exception(EngineDied())
        for queue in self._streams:
            queue.put_nowait(None)

    @staticmethod
    def _resolve(future: "asyncio.Future[Sequence]", sequence: Sequence) -> None:
        if not future.done():
            future.set_result(sequence)

    # ---- plain paths ----

    def get(self, path: str) -> HttpAnswer:
        """Answer a GET."""
        name, _, query = path.partition("?")
        settings, plan = self.settings, self.plan
        if name in {"/health", "/ping"}:
            return HttpAnswer(status=503 if self.core.is_stopped else 200, text="")
        if name == "/version":
            return _json({"version": settings.release.name})
        if name == "/metrics":
            text = exposition.metrics_text(settings, plan, self.core)
            return HttpAnswer(status=200, text=text)
        if name == "/v1/models":
            return HttpAnswer(status=200, text=exposition.models_json(settings, plan))
        if name == "/server_info" and settings.dev_mode and settings.release.since(0, 8, 5):
            as_json = "config_format=json" in query
            text = exposition.server_info_json(settings, plan, as_json=as_json)
            return HttpAnswer(status=200, text=text)
        if name == "/load":
            return _json({"server_load": 0})
        return HttpAnswer(status=404, text='{"detail":"Not Found"}')

    def post(self, path: str, body: Mapping[str, Any]) -> HttpAnswer:
        """Answer a POST that is no request for text."""
        name, _, query = path.partition("?")
        if name == "/tokenize":
            return self._tokenize(body)
        if name == "/reset_prefix_cache" and self.settings.dev_mode:
            scheduler = self.core.scheduler
            cleared = scheduler.pool.clear()
            if "reset_external=true" in query and scheduler.tier is not None:
                scheduler.tier.clear()
            if self.settings.release.since(0, 26):
                return _json({"success": cleared})
            return HttpAnswer(status=200, text="")
        return HttpAnswer(status=404, text='{"detail":"Not Found"}')

    def _tokenize(self, body: Mapping[str, Any]) -> HttpAnswer:
        if "messages" in body:
            text = " ".join(str(message.get("content", "")) for message in body["messages"])
        else:
            text = str(body.get("prompt", ""))
        ids = token_ids(text, self.shape.vocab)
        answer = {"count": len(ids), "max_model_len": self.plan.max_model_len, "tokens": ids}
        return _json(answer)


def _json(value: object) -> HttpAnswer:
    return HttpAnswer(status=200, text=json.dumps(value))
