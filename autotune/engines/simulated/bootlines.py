"""The log lines of a start, as each release words them.

Read in the releases' sources (`tests/golden/data/vllm_logs` holds their templates).
"""

from typing import Final

from autotune.engines.simulated.enginelog import API, EngineLog
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import MemoryPlan
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.units import BYTES_PER_GIB

_BACKENDS: Final = ("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION")
_OLD_TITLES: Final = {
    "FLASH_ATTN": "Flash Attention",
    "FLASHINFER": "FlashInfer",
    "TRITON_ATTN": "Triton",
    "FLEX_ATTENTION": "FlexAttention",
}


class StartLines:
    """Writes what a start says.

    Args:
        log: Where to.
        settings: Of the server.
        quantization: Of the checkpoint; None for none.
    """

    def __init__(
        self, log: EngineLog, settings: ServeSettings, *, quantization: str | None = None
    ) -> None:
        self._log, self._settings, self._quantization = log, settings, quantization

    def arguments(self) -> None:
        """What was asked for, and what the arguments make of it."""
        settings = self._settings
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

    def engine(self) -> None:
        """The engine's first line about itself."""
        settings = self._settings
        eager = settings.graph_mode is GraphMode.EAGER
        text = (
            f"Initializing a {'V1' if settings.v1 else 'V0'} LLM engine "
            f"(v{settings.release.name}) with config: "
            f"model='{settings.model}', speculative_config=None, dtype=torch.bfloat16, "
            f"max_seq_len={settings.max_model_len}, tensor_parallel_size=1, "
            f"quantization={self._quantization}, enforce_eager={eager}, "
            f"kv_cache_dtype={settings.kv_cache_dtype}, seed={settings.seed}, "
            f"served_model_name={settings.served_name}, "
            f"enable_prefix_caching={settings.prefix_caching}, "
        )
        name = "enable" if settings.release.since(0, 14) else "chunked"
        text += f"{name}_chunked_prefill" if name == "enable" else "chunked_prefill_enabled"
        text += f"={settings.chunked_prefill}"
        if not settings.v1:
            text += f", num_scheduler_steps={settings.scheduler_steps}"
        self._log.info("core.py:107", text)

    def loading(self) -> None:
        """The model is about to be loaded."""
        text = f"Starting to load model {self._settings.model}..."
        self._log.info("gpu_model_runner.py:3921", text)

    def backend(self) -> None:
        """The attention backend."""
        name, release = self._settings.attention_backend, self._settings.release
        if not release.since(0, 11, 1):
            engine = " on V1 engine" if self._settings.v1 else ""
            text = f"Using {_OLD_TITLES.get(name, name)} backend{engine}."
        elif self._settings.backend_is_explicit or not release.since(0, 12):
            text = f"Using AttentionBackendEnum.{name} backend."
        else:
            rest = [other for other in _BACKENDS if other != name]
            end = "." if release.since(0, 16) else ""
            text = f"Using {name} attention backend out of potential backends: {[name, *rest]}{end}"
        self._log.info("cuda.py:378", text)

    def loaded(self, weights_bytes: int, read_s: float | None, total_s: float) -> None:
        """The weights are on the card; `read_s` is None where none were read."""
        release = self._settings.release
        if read_s is not None:
            self._log.info("default_loader.py:397", f"Loading weights took {read_s:.2f} seconds")
        gib = weights_bytes / BYTES_PER_GIB
        figure = f"{gib:.2f}" if release.since(0, 14) else f"{gib:.4f}"
        memory = " memory" if release.since(0, 11, 1) else ""
        text = f"Model loading took {figure} GiB{memory} and {total_s:.6f} seconds"
        self._log.info("gpu_model_runner.py:4018", text)

    def compiling(self, place: str) -> None:
        """Where compiled graphs are kept."""
        text = f"Using cache directory: {place} for vLLM's torch.compile"
        self._log.info("backends.py:1089", text)

    def compiled(self, *, dynamo_s: float, graph_s: float, cached: bool) -> None:
        """Compilation is done, or was found in the cache."""
        settings = self._settings
        ranged = settings.release.since(0, 13)
        what = f"compile range (1, {settings.token_budget})" if ranged else "dynamic shape"
        if cached:
            text = f"Directly load the compiled graph(s) for {what} from the cache, took "
            self._log.info("backends.py:291", f"{text}{graph_s:.3f} s")
        else:
            text = f"Dynamo bytecode transform time: {dynamo_s:.2f} s"
            self._log.info("backends.py:1148", text)
            text = f"Compiling a graph for {what} takes {graph_s:.2f} s"
            self._log.info("backends.py:393", text)
        verb = "took" if settings.release.since(0, 18) else "takes"
        text = f"torch.compile {verb} {dynamo_s + graph_s:.2f} s in total"
        self._log.info("monitor.py:53", text)

    def profiled(self, seconds: float) -> None:
        """The profile run is done (said from 0.18.0 on)."""
        if self._settings.release.since(0, 18):
            text = f"Initial profiling/warmup run took {seconds:.2f} s"
            self._log.info("monitor.py:81", text)

    def reserved(self, truth: MemoryTruth, kv_bytes: int) -> None:
        """The KV cache has a fixed size, so nothing was profiled (0.10.2)."""
        release = self._settings.release
        does = "does not" if release.since(0, 11, 1) else "does does not"
        gap = " " if release.since(0, 11, 1) else ""
        text = (
            f"Initial free memory {_gib(truth.total - truth.context)} GiB, reserved "
            f"{_gib(kv_bytes)}{gap}GiB memory for KV Cache as specified by kv_cache_memory_bytes "
            f"config and skipped memory profiling. This {does} respect the gpu_memory_utilization "
            "config. Only use kv_cache_memory_bytes config when you want manual control of KV "
            "cache memory size. If OOM'ed, check the difference of initial free memory between the "
            "current run and the previous run where kv_cache_memory_bytes is suggested and update "
            "it correspondingly."
        )
        self._log.info("gpu_worker.py:431", text)

    def budget(self, truth: MemoryTruth, kv_bytes: int) -> None:
        """What the profile leaves for the KV cache."""
        settings, estimate = self._settings, truth.graphs_estimate
        if estimate is not None:
            text = f"Estimated CUDA graph memory: {_gib(estimate)} GiB total"
            self._log.info("gpu_model_runner.py:6365", text)
        if settings.release.since(0, 9) and settings.v1:
            text = f"Available KV cache memory: {_gib(kv_bytes)} GiB"
            self._log.info("gpu_worker.py:466", text)
        if estimate is not None:
            share, part = settings.gpu_memory_utilization, estimate / truth.total
            text = (
                "CUDA graph memory profiling is enabled (default since v0.21.0). The current "
                f"--gpu-memory-utilization={share:.4f} is equivalent to "
                f"--gpu-memory-utilization={share - part:.4f} without CUDA graph memory profiling. "
                "To maintain the same effective KV cache size as before, increase "
                f"--gpu-memory-utilization to {share + part:.4f}. To disable, set "
                "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0."
            )
            self._log.info("gpu_worker.py:481", text)

    def kv_cache(self, blocks: int, length: int) -> None:
        """Blocks, tokens, concurrency."""
        settings = self._settings
        if settings.auto_length:
            self._auto_length(length)
        tokens = blocks * settings.block_size
        per_request = -(-length // settings.block_size)
        most = f"Maximum concurrency for {length:,} tokens per request: {blocks / per_request:.2f}x"
        size = f"GPU KV cache size: {tokens:,} tokens"
        if not settings.v1:
            text = f"# cuda blocks: {blocks}, # CPU blocks: 0"
            self._log.info("executor_base.py:113", text)
            self._log.info("executor_base.py:118", most)
        elif settings.release.since(0, 28):
            self._log.info("kv_cache_utils.py:1733", f"{size}, {most}")
        else:
            self._log.info("kv_cache_utils.py:1733", size)
            self._log.info("kv_cache_utils.py:1734", most)

    def _auto_length(self, length: int) -> None:
        own = self._settings.max_model_len
        text = (
            f"Auto-fit max_model_len: full model context length {length} fits in available GPU "
            "memory"
            if length == own
            else f"Auto-fit max_model_len: reduced from {own} to {length} to fit in available GPU "
            "memory"
        )
        self._log.info("kv_cache_utils.py:1702", text)

    def captured(self, seconds: float, graphs_bytes: int) -> None:
        """Graphs are captured."""
        text = f"Graph capturing finished in {seconds:.0f} secs, took {_gib(graphs_bytes)} GiB"
        self._log.info("gpu_model_runner.py:5244", text)

    def ledger(self, plan: MemoryPlan) -> None:
        """The memory ledger (0.10.2); at DEBUG from 0.11.0 to 0.20.2 (`gpu_worker.py`)."""
        settings = self._settings
        release = settings.release
        at_debug = release.since(0, 11) and not release.since(0, 21)
        if settings.kv_cache_memory_bytes is not None or not release.since(0, 10, 2):
            return
        if at_debug and not settings.debug_log:
            return
        free = plan.total - plan.context
        wanted = plan.kv_cache - plan.graphs + (plan.graphs_estimate or 0)
        most = free - plan.weights - plan.non_torch - plan.activation - plan.graphs
        sized = release.since(0, 11)
        limits = [
            f"`--kv-cache-memory={size}`{f' ({_gib(size)} GiB)' if sized else ''}"
            for size in (wanted, most)
        ]
        in_use = f"{_gib(plan.kv_cache)} GiB" if sized else f"{plan.kv_cache} bytes"
        text = (
            f"Free memory on device ({_gib(free)}/{_gib(plan.total)} GiB) on startup. Desired "
            f"GPU memory utilization is ({settings.gpu_memory_utilization}, "
            f"{_gib(plan.requested)} GiB). {self._usage(plan)} Replace gpu_memory_utilization "
            f"config with {limits[0]} to fit into requested memory, or {limits[1]} to fully "
            f"utilize gpu memory. Current kv cache memory in use is {in_use}."
        )
        write = self._log.debug if at_debug else self._log.info
        write("gpu_worker.py:688", text)

    def _usage(self, plan: MemoryPlan) -> str:
        """From 0.20.0 the peak contains the graphs' estimate; 0.28.0 joins two figures."""
        peak = _gib(plan.activation + (plan.graphs_estimate or 0))
        graphs = _gib(plan.graphs)
        if self._settings.release.since(0, 28):
            return (
                f"Actual usage is {_gib(plan.weights + plan.non_torch)} GiB for consumed memory "
                f"(weights + non-torch), {peak} GiB for peak activation, and {graphs} GiB for "
                "CUDAGraph memory."
            )
        return (
            f"Actual usage is {_gib(plan.weights)} GiB for weight, {peak} GiB for peak activation, "
            f"{_gib(plan.non_torch)} GiB for non-torch memory, and {graphs} GiB for CUDAGraph "
            "memory."
        )

    def initialized(self, seconds: float) -> None:
        """The engine is ready."""
        text = f"init engine (profile, create kv cache, warmup model) took {seconds:.2f} seconds"
        self._log.info("core.py:290", text)

    def listening(self, bind: str) -> None:
        """The HTTP server answers."""
        kind = "server" if self._settings.release.since(0, 18) else "API server 0"
        text = f"Starting vLLM {kind} on http://{bind}"
        self._log.info("api_server.py:1903", text, process=API)
        self._log.raw("INFO:     Started server process [1]")
        self._log.raw("INFO:     Waiting for application startup.")
        self._log.raw("INFO:     Application startup complete.")


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / BYTES_PER_GIB:.2f}"
