"""The start of a simulated server: phases that take time, write vLLM's log, and may refuse."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np

from autotune.clock import Clock
from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.bootlines import StartLines
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.enginelog import API, EngineLog
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import MemoryPlan
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.units import BYTES_PER_GIB, NS_PER_S

_SPREAD: Final = 0.03
"""Standard deviation of a phase's time, relative."""
_DUMMY_GB_PER_S: Final = 25.0
"""Random weights are made on the card."""
_CACHED_FACTOR: Final = 3.0
"""Reading weights that are in the page cache, against the disk."""


@dataclass
class Caches:
    """What outlives a server: compiled graphs, FlashInfer's kernels, weights in the page cache."""

    compiled: set[tuple[object, ...]] = field(default_factory=set)
    kernels: set[tuple[object, ...]] = field(default_factory=set)
    weights: set[str] = field(default_factory=set)


def compile_key(settings: ServeSettings) -> tuple[object, ...]:
    """What vLLM's compile cache is keyed by (`config/vllm.py`, `compute_hash`).

    Not in it: the memory share, prefix caching, async scheduling.
    """
    release = settings.release
    return (
        release.name,
        settings.model,
        settings.max_model_len,
        settings.token_budget if release.since(0, 12) else None,
        settings.max_num_seqs if release.since(0, 29) else None,
        settings.block_size,
        settings.kv_cache_dtype,
        settings.offload_bytes,
        settings.attention_backend,
        settings.graph_mode,
        settings.graph_sizes,
        None if release.since(0, 26) else settings.kv_cache_memory_bytes,
    )


AfterPhase = Callable[[str], None]
"""Called with the name of each phase that is done; may raise `StartRefused` (a scripted fault)."""


def _go_on(_phase: str) -> None:
    return


class Boot:
    """Plays one start on the clock.

    Args:
        log: Where the server writes.
        clock: Whose time passes.
        random: Spread of the phases' times.
        caches: Of this machine.
        slowdown: Factor on every phase's time.
        after_phase: Sees each phase's end.
    """

    def __init__(
        self,
        card: Card,
        shape: ModelShape,
        log: EngineLog,
        clock: Clock,
        *,
        random: np.random.Generator,
        caches: Caches,
        slowdown: float = 1.0,
        after_phase: AfterPhase | None = None,
    ) -> None:
        self._card, self._shape, self._log, self._clock = card, shape, log, clock
        self._random, self._caches, self._slowdown = random, caches, slowdown
        self._after_phase = after_phase or _go_on

    async def imports(self, release_name: str) -> None:
        """Python finds its modules; nothing is known of the arguments yet."""
        await self._pass(self._card.start.import_s * 0.45)
        self._log.info("importing.py:53", "Triton module has been found.", process=API)
        await self._pass(self._card.start.import_s * 0.55)
        self._log.info("api_server.py:1839", f"vLLM API server version {release_name}", process=API)

    async def engine(self, settings: ServeSettings, truth: MemoryTruth) -> MemoryPlan:
        """Everything from the arguments to a warm engine.

        Raises:
            StartRefused: At the phase that does not work.
        """
        lines = StartLines(self._log, settings, quantization=self._shape.quantization)
        began_ns = self._clock.now_ns()
        lines.arguments()
        await self._pass(self._card.start.process_s)
        truth.check_device()
        lines.engine()
        lines.loading()
        self._after_phase("imports")
        await self._load(settings, truth, lines)
        self._after_phase("weights")
        await self._compile(settings, truth, lines)
        kv_bytes, length = await self._profile(settings, truth, lines)
        self._after_phase("profiling")
        blocks = truth.allocate_kv(kv_bytes)
        lines.kv_cache(blocks, length)
        self._after_phase("kv")
        offload = truth.allocate_offload()
        await self._pass(offload[0] / BYTES_PER_GIB / self._card.start.pin_gib_per_s)
        await self._capture(settings, truth, blocks, lines)
        self._after_phase("graphs")
        truth.warm_up(blocks)
        plan = truth.finished(kv_bytes, blocks, length, *offload)
        lines.ledger(plan)
        await self._pass(self._card.start.kv_s)
        lines.initialized((self._clock.now_ns() - began_ns) / NS_PER_S)
        return plan

    def serving(self, settings: ServeSettings, bind: str) -> None:
        """The HTTP server listens."""
        StartLines(self._log, settings).listening(bind)

    async def _pass(self, seconds: float) -> float:
        if seconds <= 0:
            return 0.0
        spread = float(np.clip(1 + _SPREAD * self._random.standard_normal(), 0.5, 1.5))
        taken = seconds * spread * self._slowdown
        await self._clock.sleep(taken)
        return taken

    # ---- phases ----

    async def _load(self, settings: ServeSettings, truth: MemoryTruth, lines: StartLines) -> None:
        lines.backend()
        rate = self._card.start.disk_gb_per_s
        if settings.dummy_weights:
            rate = _DUMMY_GB_PER_S
        elif settings.model in self._caches.weights:
            rate *= _CACHED_FACTOR
        seconds = await self._pass(1.0 + truth.weights / 1e9 / rate)
        weights = truth.load_weights()
        self._caches.weights.add(settings.model)
        more = await self._pass(0.8)
        lines.loaded(weights, None if settings.dummy_weights else seconds, seconds + more)

    async def _compile(
        self, settings: ServeSettings, truth: MemoryTruth, lines: StartLines
    ) -> None:
        start = self._card.start
        if settings.attention_backend == "FLASHINFER":
            await self._build_kernels(settings)
        if settings.graph_mode is GraphMode.EAGER or not settings.v1:
            return
        key = compile_key(settings)
        lines.compiling(f"/root/.cache/vllm/torch_compile_cache/{_short(key)}/rank_0_0/backbone")
        cached = key in self._caches.compiled and not settings.compile_cache_disabled
        if cached:
            dynamo, graph = 0.0, await self._pass(start.compile_cached_s)
        else:
            dynamo = await self._pass(start.compile_base_s * 0.5)
            layers = start.compile_layer_s * self._shape.layers
            graph = await self._pass(start.compile_base_s * 0.5 + layers)
            self._caches.compiled.add(key)
            truth.compiled()
        lines.compiled(dynamo_s=dynamo, graph_s=graph, cached=cached)

    async def _build_kernels(self, settings: ServeSettings) -> None:
        """FlashInfer compiles kernels for a shape and type once."""
        shape = self._shape
        key = (settings.release.name, shape.head_dim, shape.heads, shape.kv_heads, settings.fp8_kv)
        if key not in self._caches.kernels:
            await self._pass(self._card.start.flashinfer_jit_s)
            self._caches.kernels.add(key)

    async def _profile(
        self, settings: ServeSettings, truth: MemoryTruth, lines: StartLines
    ) -> tuple[int, int]:
        """The profile run; returns the bytes left for KV blocks and the longest request."""
        fixed = settings.kv_cache_memory_bytes
        if fixed is not None:
            lines.reserved(truth, fixed)
            return fixed, truth.check_length(fixed)
        seconds = await self._pass(self._card.start.profile_s)
        truth.profile()
        lines.profiled(seconds)
        kv_bytes = truth.kv_bytes()
        lines.budget(truth, kv_bytes)
        return kv_bytes, truth.check_length(kv_bytes)

    async def _capture(
        self, settings: ServeSettings, truth: MemoryTruth, blocks: int, lines: StartLines
    ) -> None:
        sizes = len(settings.graph_sizes)
        if sizes == 0:
            return
        kinds = 2 if settings.graph_mode is GraphMode.FULL and settings.v1 else 1
        seconds = await self._pass(self._card.start.graph_capture_s * sizes * kinds)
        lines.captured(seconds, truth.capture_graphs(blocks))


def _short(key: tuple[object, ...]) -> str:
    """A stable name for a cache key."""
    return sha256(repr(key).encode()).hexdigest()[:10]
