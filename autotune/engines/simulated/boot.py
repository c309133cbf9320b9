"""The start of a simulated server: phases that take time, write vLLM's log, and may refuse."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np

from autotune.clock import Clock
from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.enginelog import API, EngineLog
from autotune.engines.simulated.memory import MemoryPlan, MemoryTruth
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.units import BYTES_PER_GIB

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
        self._announce(settings)
        await self._pass(self._card.start.process_s)
        truth.check_device()
        self._engine_line(settings)
        self._log.info("gpu_model_runner.py:3921", f"Starting to load model {settings.model}...")
        self._after_phase("imports")
        await self._load(settings, truth)
        self._after_phase("weights")
        await self._compile(settings)
        kv_bytes, length = await self._profile(settings, truth)
        self._after_phase("profiling")
        blocks = truth.allocate_kv(kv_bytes)
        self._kv_lines(settings, blocks, length)
        self._after_phase("kv")
        offload = truth.allocate_offload()
        await self._pass(offload[0] / BYTES_PER_GIB / self._card.start.pin_gib_per_s)
        await self._capture(settings, truth, blocks)
        self._after_phase("graphs")
        truth.warm_up(blocks)
        plan = truth.finished(kv_bytes, blocks, length, *offload)
        self._ledger_line(settings, plan)
        await self._pass(self._card.start.kv_s)
        return plan

    def serving(self, settings: ServeSettings, bind: str) -> None:
        """The HTTP server listens."""
        newer = settings.release.since(0, 18)
        text = f"Starting vLLM {'server' if newer else 'API server 0'} on http://{bind}"
        self._log.info("api_server.py:1903", text, process=API)
        self._log.raw("INFO:     Started server process [1]")
        self._log.raw("INFO:     Waiting for application startup.")
        self._log.raw("INFO:     Application startup complete.")

    async def _pass(self, seconds: float) -> float:
        if seconds <= 0:
            return 0.0
        spread = float(np.clip(1 + _SPREAD * self._random.standard_normal(), 0.5, 1.5))
        taken = seconds * spread * self._slowdown
        await self._clock.sleep(taken)
        return taken

    # ---- phases ----

    async def _load(self, settings: ServeSettings, truth: MemoryTruth) -> None:
        self._backend_line(settings)
        rate = self._card.start.disk_gb_per_s
        if settings.dummy_weights:
            rate = _DUMMY_GB_PER_S
        elif settings.model in self._caches.weights:
            rate *= _CACHED_FACTOR
        seconds = await self._pass(1.0 + truth.weights / 1e9 / rate)
        weights = truth.load_weights()
        self._caches.weights.add(settings.model)
        if not settings.dummy_weights:
            text = f"Loading weights took {seconds:.2f} seconds"
            self._log.info("default_loader.py:397", text)
        more = await self._pass(0.8)
        gib = weights / BYTES_PER_GIB
        memory = " memory" if settings.release.since(0, 11, 1) else ""
        text = f"Model loading took {gib:.4f} GiB{memory} and {seconds + more:.6f} seconds"
        self._log.info("gpu_model_runner.py:4018", text)

    async def _compile(self, settings: ServeSettings) -> None:
        start, release = self._card.start, settings.release
        if settings.attention_backend == "FLASHINFER":
            await self._build_kernels(settings)
        if settings.graph_mode is GraphMode.EAGER or not settings.v1:
            return
        key = compile_key(settings)
        place = f"/root/.cache/vllm/torch_compile_cache/{_short(key)}/rank_0_0/backbone"
        using = f"Using cache directory: {place} for vLLM's torch.compile"
        self._log.info("backends.py:1089", using)
        cached = key in self._caches.compiled and not settings.compile_cache_disabled
        if cached:
            dynamo, graph = 0.0, await self._pass(start.compile_cached_s)
            text = f"Directly load the compiled graph(s) for compile range, took {graph:.3f} s"
            self._log.info("backends.py:291", text)
        else:
            dynamo = await self._pass(start.compile_base_s * 0.5)
            text = f"Dynamo bytecode transform time: {dynamo:.2f} s"
            self._log.info("backends.py:1148", text)
            layers = start.compile_layer_s * self._shape.layers
            graph = await self._pass(start.compile_base_s * 0.5 + layers)
            ranged = f"compile range (1, {settings.token_budget})"
            shape = ranged if release.since(0, 13) else "dynamic shape"
            text = f"Compiling a graph for {shape} takes {graph:.2f} s"
            self._log.info("backends.py:393", text)
            self._caches.compiled.add(key)
        verb = "took" if release.since(0, 18) else "takes"
        text = f"torch.compile {verb} {dynamo + graph:.2f} s in total"
        self._log.info("monitor.py:53", text)

    async def _build_kernels(self, settings: ServeSettings) -> None:
        """FlashInfer compiles kernels for a shape and type once."""
        shape = self._shape
        key = (settings.release.name, shape.head_dim, shape.heads, shape.kv_heads, settings.fp8_kv)
        if key not in self._caches.kernels:
            await self._pass(self._card.start.flashinfer_jit_s)
            self._caches.kernels.add(key)

    async def _profile(self, settings: ServeSettings, truth: MemoryTruth) -> tuple[int, int]:
        seconds = await self._pass(self._card.start.profile_s)
        truth.profile()
        if settings.release.since(0, 18):
            text = f"Initial profiling/warmup run took {seconds:.2f} s"
            self._log.info("monitor.py:81", text)
        fixed = settings.kv_cache_memory_bytes
        if fixed is not None:
            gib = fixed / BYTES_PER_GIB
            text = (
                f"Initial free memory {(truth.total - truth.context) / BYTES_PER_GIB:.2f} GiB, "
                f"reserved {gib:.2f} GiB memory for KV Cache as specified by "
                "kv_cache_memory_bytes config and skipped memory profiling."
            )
            self._log.info("gpu_worker.py:431", text)
        kv_bytes = truth.kv_bytes()
        if fixed is None:
            self._budget_lines(settings, truth, kv_bytes)
        return kv_bytes, truth.check_length(kv_bytes)

    async def _capture(self, settings: ServeSettings, truth: MemoryTruth, blocks: int) -> None:
        sizes = len(settings.graph_sizes)
        if sizes == 0:
            return
        kinds = 2 if settings.graph_mode is GraphMode.FULL and settings.v1 else 1
        seconds = await self._pass(self._card.start.graph_capture_s * sizes * kinds)
        graphs = truth.capture_graphs(blocks)
        text = (
            f"Graph capturing finished in {seconds:.0f} secs, took {graphs / BYTES_PER_GIB:.2f} GiB"
        )
        self._log.info("gpu_model_runner.py:5244", text)

    # ---- lines ----

    def _announce(self, settings: ServeSettings) -> None:
        shown = {"model_tag": settings.model, **dict(settings.explicit)}
        self._log.info("utils.py:233", f"non-default args: {shown}", process=API)
        for text in settings.warnings:
            self._log.warning("arg_utils.py:1714", text, process=API)
        for name in settings.ignored:
            text = f"Unknown vLLM environment variable detected: {name}"
            self._log.warning("envs.py:1811", text, process=API)
        if settings.v1:
            text = (
                f"Chunked prefill is enabled with max_num_batched_tokens={settings.token_budget}."
            )
            self._log.info("scheduler.py:226", text, process=API)
        if settings.release.since(0, 14) and not settings.release.since(0, 27):
            state = "enabled" if settings.async_scheduling else "disabled"
            self._log.info("vllm.py:977", f"Asynchronous scheduling is {state}.", process=API)

    def _engine_line(self, settings: ServeSettings) -> None:
        kind = "V1" if settings.v1 else "V0"
        eager = settings.graph_mode is GraphMode.EAGER
        text = (
            f"Initializing a {kind} LLM engine (v{settings.release.name}) with config: "
            f"model='{settings.model}', speculative_config=None, dtype=torch.bfloat16, "
            f"max_seq_len={settings.max_model_len}, tensor_parallel_size=1, "
            f"quantization={self._shape.quantization}, enforce_eager={eager}, "
            f"kv_cache_dtype={settings.kv_cache_dtype}, seed={settings.seed}, "
            f"served_model_name={settings.served_name}, "
            f"enable_prefix_caching={settings.prefix_caching}, "
            f"enable_chunked_prefill={settings.chunked_prefill}"
        )
        self._log.info("core.py:107", text)

    def _backend_line(self, settings: ServeSettings) -> None:
        name, release = settings.attention_backend, settings.release
        if not release.since(0, 11, 1):
            titles = {"FLASH_ATTN": "Flash Attention", "FLASHINFER": "FlashInfer",
                      "TRITON_ATTN": "Triton"}  # fmt: skip
            engine = " on V1 engine" if settings.v1 else ""
            text = f"Using {titles.get(name, name)} backend{engine}."
        elif settings.backend_is_explicit:
            text = f"Using AttentionBackendEnum.{name} backend."
        else:
            listed = ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"]
            text = (
                f"Using {name} attention backend out of potential backends: "
                f"{listed[listed.index(name) :] if name in listed else listed}."
            )
        self._log.info("cuda.py:378", text)

    def _budget_lines(self, settings: ServeSettings, truth: MemoryTruth, kv_bytes: int) -> None:
        estimate = truth.graphs_estimate
        if estimate is not None:
            text = f"Estimated CUDA graph memory: {estimate / BYTES_PER_GIB:.2f} GiB total"
            self._log.info("gpu_model_runner.py:6365", text)
        gib = kv_bytes / BYTES_PER_GIB
        self._log.info("gpu_worker.py:466", f"Available KV cache memory: {gib:.2f} GiB")
        if estimate is not None:
            share = settings.gpu_memory_utilization
            less = share - estimate / truth.total
            text = (
                "CUDA graph memory profiling is enabled (default since v0.21.0). The current "
                f"--gpu-memory-utilization={share:.4f} is equivalent to "
                f"--gpu-memory-utilization={less:.4f} without CUDA graph memory profiling. To "
                "maintain the same effective KV cache size as before, increase "
                f"--gpu-memory-utilization to {share + estimate / truth.total:.4f}. To disable, "
                "set VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0."
            )
            self._log.info("gpu_worker.py:481", text)

    def _kv_lines(self, settings: ServeSettings, blocks: int, length: int) -> None:
        tokens = blocks * settings.block_size
        if settings.auto_length:
            text = (
                f"Auto-fit max_model_len: full model context length {length} fits in available "
                "GPU memory"
                if length == settings.max_model_len
                else f"Auto-fit max_model_len: reduced from {settings.max_model_len} to {length} "
                "to fit in available GPU memory"
            )
            self._log.info("kv_cache_utils.py:1702", text)
        if not settings.v1:
            text = f"# cuda blocks: {blocks}, # CPU blocks: 0"
            self._log.info("executor_base.py:113", text)
        per_request = -(-length // settings.block_size)
        most = f"Maximum concurrency for {length:,} tokens per request: {blocks / per_request:.2f}x"
        size = f"GPU KV cache size: {tokens:,} tokens"
        if not settings.v1:
            self._log.info("executor_base.py:118", most)
        elif settings.release.since(0, 30):
            self._log.info("kv_cache_utils.py:1733", f"{size}, {most}")
        else:
            self._log.info("kv_cache_utils.py:1733", size)
            self._log.info("kv_cache_utils.py:1734", most)

    def _ledger_line(self, settings: ServeSettings, plan: MemoryPlan) -> None:
        """The memory ledger, at INFO in 0.10.2 and from 0.26.0 on (`gpu_worker.py`)."""
        release = settings.release
        quiet = release.since(0, 11) and not release.since(0, 26)
        fixed = settings.kv_cache_memory_bytes is not None
        if fixed or quiet or not release.since(0, 10, 2):
            return
        g = BYTES_PER_GIB
        peak = plan.activation + (plan.graphs_estimate or 0)
        if release.since(0, 28):
            held = (plan.weights + plan.non_torch) / g
            usage = (
                f"Actual usage is {held:.2f} GiB for consumed memory (weights + non-torch), "
                f"{peak / g:.2f} GiB for peak activation, and {plan.graphs / g:.2f} GiB for "
                "CUDAGraph memory."
            )
        else:
            usage = (
                f"Actual usage is {plan.weights / g:.2f} GiB for weight, {peak / g:.2f} GiB for "
                f"peak activation, {plan.non_torch / g:.2f} GiB for non-torch memory, and "
                f"{plan.graphs / g:.2f} GiB for CUDAGraph memory."
            )
        free = plan.total - plan.context
        wanted = plan.kv_cache - plan.graphs + (plan.graphs_estimate or 0)
        most = free - plan.weights - plan.non_torch - plan.activation - plan.graphs
        text = (
            f"Free memory on device ({free / g:.2f}/{plan.total / g:.2f} GiB) on startup. Desired "
            f"GPU memory utilization is ({settings.gpu_memory_utilization}, "
            f"{plan.requested / g:.2f} GiB). {usage} Replace gpu_memory_utilization config with "
            f"`--kv-cache-memory={wanted}` ({wanted / g:.2f} GiB) to fit into requested memory, or "
            f"`--kv-cache-memory={most}` ({most / g:.2f} GiB) to fully utilize gpu memory. Current "
            f"kv cache memory in use is {plan.kv_cache / g:.2f} GiB."
        )
        self._log.info("gpu_worker.py:688", text)


def _short(key: tuple[object, ...]) -> str:
    """A stable name for a cache key."""
    return sha256(repr(key).encode()).hexdigest()[:10]
