"""Where the memory of a simulated server is, on the card and on the host."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HostRoom:
    """Host memory that the server finds.

    Attributes:
        memory_bytes: Of the machine.
        shm_bytes: Size of its /dev/shm.
        limit_bytes: Of its container; None without one.
    """

    memory_bytes: int
    shm_bytes: int
    limit_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Where the memory of a running server went, in bytes.

    Attributes:
        context: CUDA context and other users of the card.
        requested: The share that vLLM may use.
        graphs_estimate: vLLM's own guess of `graphs`, taken from the share; None before 0.20.0.
        kv_cache: All KV blocks.
        blocks: Their number.
        max_model_len: The longest sequence, after `auto`.
        engine_host: Host memory of the server's processes.
        offload_host: Host memory of the KV offload.
        offload_blocks: Blocks that it holds.
        shm: Bytes in /dev/shm.
    """

    total: int
    context: int
    requested: int
    weights: int
    activation: int
    non_torch: int
    graphs: int
    graphs_estimate: int | None
    kv_cache: int
    blocks: int
    block_size: int
    block_bytes: int
    max_model_len: int
    engine_host: int
    os_host: int
    offload_host: int
    offload_blocks: int
    shm: int
    load_growth: int

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return self.blocks * self.block_size

    @property
    def gpu_idle(self) -> int:
        """GPU memory in use once the server is up."""
        held = self.weights + self.non_torch + self.graphs + self.kv_cache
        return min(self.total, self.context + held + self.activation)

    @property
    def gpu_busy(self) -> int:
        """The same while it serves."""
        return min(self.total, self.gpu_idle + self.load_growth)

    @property
    def bursts_under_load(self) -> bool:
        """Whether a full batch needs more than the card has left."""
        held = self.weights + self.non_torch + self.graphs + self.kv_cache + self.context
        return held + self.activation + self.load_growth > self.total
