"""The settings that a simulated server runs with, after its arguments met its defaults."""

from dataclasses import dataclass
from enum import StrEnum

from autotune.engines.simulated.release import FP8_TYPES, Release


class GraphMode(StrEnum):
    """How iterations are launched."""

    EAGER = "eager"  # no compilation, no graphs
    COMPILED = "compiled"  # compiled, no graphs
    PIECEWISE = "piecewise"  # graphs between the attention calls
    FULL = "full"  # whole graphs for decoding, pieces otherwise


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What one server does.

    Attributes:
        v1: Whether the V1 engine runs.
        token_budget: Most tokens of an iteration.
        scheduler_steps: Decode steps per scheduling (V0).
        offload_bytes: Size of the KV offload to host memory, 0 for none.
        kv_cache_memory_bytes: Fixed size of the KV cache; skips profiling.
        auto_length: The longest sequence that fits is allowed (--max-model-len auto).
        long_prefill_tokens: Most prompt tokens of one request in an iteration, 0 for no bound.
        stream_interval: Tokens per streamed chunk.
        explicit: Options as given, for the log's `non-default args`.
        ignored: Environment variables that the release does not know.
        dummy_weights: --load-format dummy.
        dev_mode: VLLM_SERVER_DEV_MODE=1.
        debug_log: VLLM_LOGGING_LEVEL=DEBUG.
    """

    release: Release
    model: str
    served_name: str
    port: int = 8000
    v1: bool = True
    gpu_memory_utilization: float = 0.92
    kv_cache_memory_bytes: int | None = None
    max_model_len: int = 32768
    auto_length: bool = False
    max_num_seqs: int = 256
    token_budget: int = 2048
    block_size: int = 16
    kv_cache_dtype: str = "auto"
    prefix_caching: bool = True
    chunked_prefill: bool = True
    async_scheduling: bool = True
    scheduler_steps: int = 1
    attention_backend: str = "FLASH_ATTN"
    backend_is_explicit: bool = False
    graph_mode: GraphMode = GraphMode.FULL
    graph_sizes: tuple[int, ...] = ()
    offload_bytes: int = 0
    long_prefill_tokens: int = 0
    stream_interval: int = 1
    performance_mode: str = "balanced"
    optimization_level: int = 2
    dummy_weights: bool = False
    dev_mode: bool = False
    debug_log: bool = False
    compile_cache_disabled: bool = False
    explicit: tuple[tuple[str, object], ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seed: int = 0

    @property
    def fp8_kv(self) -> bool:
        """Whether the KV cache is fp8."""
        return self.kv_cache_dtype in FP8_TYPES

    @property
    def largest_graph(self) -> int:
        """Tokens of the largest captured graph, 0 without graphs."""
        return max(self.graph_sizes, default=0)
