"""What vLLM says when it refuses to start, release by release, to the letter.

Read in the releases' sources (`tests/golden/data/vllm_failures` holds their templates):
`v1/worker/utils.py`, `v1/worker/gpu_model_runner.py`, `v1/core/kv_cache_utils.py`,
`v1/kv_offload/`, `platforms/cuda.py`, `v1/attention/`, `config/*.py`. The classifier for real vLLM
reads them. The exception's class comes first, as in a traceback's last line.
"""

from typing import Final

from autotune.engines.simulated.release import Release
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

_SHM: Final = "/dev/shm"  # noqa: S108 - a word of a message
_DOCS: Final = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more"


def cuda_oom(wanted: float, total: float, free: float, used: float) -> str:
    """PyTorch's out-of-memory text (c10/cuda/CUDACachingAllocator.cpp)."""
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {_size(wanted)}. GPU 0 has "
        f"a total capacity of {_size(total)} of which {_size(max(0.0, free))} is free. Including "
        f"non-PyTorch memory, this process has {_size(used)} memory in use."
    )


def cuda_crash() -> str:
    """A GPU kernel that went wrong."""
    return "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"


def free_memory(release: Release, free: float, total: float, share: float, wanted: float) -> str:
    """The share of the card is not free (`request_memory`, 0.9.2)."""
    device = "cuda:0 " if release.since(0, 14) else ""
    return (
        f"ValueError: Free memory on device {device}({_gib(free)}/{_gib(total)} GiB) on startup is "
        f"less than desired GPU memory utilization ({share}, {_gib(wanted)} GiB). Decrease GPU "
        "memory utilization or reduce GPU memory used by other processes."
    )


def weights_hint(release: Release) -> str | None:
    """A line before the out-of-memory error; the second model runner (0.29.0) is silent."""
    if not release.since(0, 13) or release.since(0, 29):
        return None
    return (
        "Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization to "
        "free memory for weights, increasing --tensor-parallel-size, or using --quantization. "
        f"{_DOCS} tips."
    )


def no_blocks(release: Release) -> str:
    """Nothing is left for KV blocks."""
    text = (
        "ValueError: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization` when initializing the engine"
    )
    if release.since(0, 22):
        text += (
            " (this flag also controls CPU memory reservation on the CPU backend, despite its name)"
        )
    return f"{text}. {_DOCS} details." if release.since(0, 13) else f"{text}."


def too_long(release: Release, length: int, needed: float, available: float, fits: int) -> str:
    """The longest request does not fit in the KV blocks."""
    whose = "model's" if release.since(0, 22) else "models's"
    estimate = (
        f"Based on the available memory, the estimated maximum model length is {fits}. "
        if fits > 0
        else ""
    )
    also = " (which also controls CPU memory on the CPU backend)" if release.since(0, 22) else ""
    text = (
        f"ValueError: To serve at least one request with the {whose} max seq len ({length}), "
        f"({_gib(needed)} GiB KV cache is needed, which is larger than the available KV cache "
        f"memory ({_gib(available)} GiB). {estimate}Try increasing "
        f"`gpu_memory_utilization`{also} or decreasing `max_model_len` when initializing the "
        "engine."
    )
    return f"{text} {_DOCS} details." if release.since(0, 13) else text


def no_auto_length() -> str:
    """Not one token fits (0.14.0)."""
    return (
        "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve even "
        "a single token. Try increasing `gpu_memory_utilization`."
    )


def sampler_warmup(sequences: int) -> str:
    """`_dummy_sampler_run`."""
    return (
        "RuntimeError: CUDA out of memory occurred when warming up sampler with "
        f"{sequences} dummy requests. Please try lowering `max_num_seqs` or "
        "`gpu_memory_utilization` when initializing the engine."
    )


def no_shm(release: Release, needed: float, free: float) -> str:
    """Shared memory is too small for the KV offload; only the system says so before 0.28.0."""
    if not release.since(0, 28):
        return "OSError: [Errno 28] No space left on device"
    what = " for CPU KV offload shared region in /dev/shm" if release.since(0, 31) else ""
    return (
        f"RuntimeError: Insufficient space in {_SHM}{what}: {needed / BYTES_PER_MIB:.0f} MiB "
        f"required, {free / BYTES_PER_MIB:.0f} MiB free. Increase {_SHM} (e.g. --shm-size or "
        "--ipc=host)."
    )


def no_pinning() -> str:
    """`torch.zeros(..., pin_memory=True)` (0.14.0 to 0.26.0) when the host has no room."""
    return "torch.AcceleratorError: CUDA error: out of memory"


def offload_unset() -> str:
    """The offload's flags ask for 0 blocks (0.11.1 to 0.13.0)."""
    return "Exception: num_cpu_blocks must be specified in kv_connector_extra_config"


def offload_hma() -> str:
    """The offload does not go with the hybrid KV cache manager (0.14.0 to 0.20.2)."""
    return (
        "ValueError: Connector OffloadingConnector does not support HMA but HMA is enabled. "
        "Please set `--disable-hybrid-kv-cache-manager`."
    )


def offload_without_size() -> str:
    """A backend without a size (0.11.1 to 0.13.0)."""
    return "ValueError: You must set kv_offloading_size when kv_offloading_backend is set."


def offload_expandable() -> str:
    """The offload does not go with expandable segments (0.26.0)."""
    return (
        "ValueError: KV connector OffloadingConnector is incompatible with "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True unless enable_cumem_allocator is also "
        "enabled. PyTorch's CUDA VMM allocator can remap KV cache virtual addresses to different "
        "physical pages, invalidating any pinned/registered KV memory (e.g. IB memory regions "
        "registered by NIXL or Mooncake). Either unset expandable_segments:True or enable the "
        "cumem allocator (sleep mode does this automatically and also routes KV allocations "
        "through CuMemAllocator's pool, where expandable_segments is automatically disabled)."
    )


def invalid_backend(release: Release, name: str, reasons: list[str]) -> str:
    """The backend asked for cannot serve these settings."""
    if not release.since(0, 11, 1):
        return "NotImplementedError: FlashAttention does not support fp8 kv-cache on this device."
    return (
        f"ValueError: Selected backend AttentionBackendEnum.{name} is not valid for this "
        f"configuration. Reason: {reasons}"
    )


def no_backend(head_size: int, kv_dtype: str, block_size: int) -> str:
    """No backend can serve these settings (0.11.1)."""
    return (
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig("
        f"head_size={head_size}, kv_cache_dtype={kv_dtype}, block_size={block_size}). "
        "Reasons: {FLASH_ATTN: [kv_cache_dtype not supported]}."
    )


def unknown_backend(name: str, known: tuple[str, ...]) -> str:
    """No backend has that name."""
    return f"ValueError: Invalid attention backend: '{name}'. Valid backends are: {list(known)}"


def triton_fp8(release: Release, card: str, capability: tuple[int, int]) -> str:
    """A clean refusal from 0.24.0; before, Triton's compiler fails (#26431)."""
    if not release.since(0, 24):
        return (
            "triton.compiler.errors.CompilationError: type fp8e4nv not supported in this "
            "architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')"
        )
    major, minor = capability
    return (
        f"ValueError: FP8 KV cache is not supported by the Triton attention backend on {card} "
        f"(compute capability {major}.{minor}); native FP8 (fp8e4nv) requires SM89+. Re-run with "
        "--kv-cache-dtype bfloat16."
    )


def too_few_tokens(budget: int, sequences: int) -> str:
    """`SchedulerConfig`: a sequence needs a token."""
    return (
        f"ValueError: max_num_batched_tokens ({budget}) must be greater than or equal to "
        f"max_num_seqs ({sequences})."
    )


def short_batch(budget: int, length: int) -> str:
    """Without chunked prefill a prompt must fit in one iteration."""
    return (
        f"ValueError: max_num_batched_tokens ({budget}) is smaller than max_model_len ({length}). "
        "This effectively limits the maximum sequence length to max_num_batched_tokens and makes "
        "vLLM reject longer sequences. Please increase max_num_batched_tokens or decrease "
        "max_model_len."
    )


def over_length(release: Release, asked: int, own: int) -> str:
    """More than the model was made for."""
    text = (
        f"ValueError: User-specified max_model_len ({asked}) is greater than the derived "
        f"max_model_len (max_position_embeddings={own} or model_max_length=None in model's "
        "config.json)."
    )
    warning = " This may lead to incorrect model outputs or CUDA errors."
    return text if release.since(0, 10, 2) else text + warning


def v1_only() -> str:
    """VLLM_USE_V1=0 in 0.11.0."""
    return (
        "ValueError: Using V1 AsyncLLMEngine, but envs.VLLM_USE_V1=False. This should not happen. "
        "As a workaround, try using AsyncLLMEngine.from_vllm_config(...) or explicitly set "
        "VLLM_USE_V1=0 or 1 and report this issue on Github."
    )


def not_in_v1(option: str) -> str:
    """VLLM_USE_V1=1 with an option that needs V0 (0.8.0 to 0.10.2)."""
    return f"NotImplementedError: VLLM_USE_V1=1 is not supported with {option}."


def invalid_field(config: str, field: str, problem: str, value: object) -> str:
    """A configuration object refuses a value (pydantic)."""
    return (
        f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {config}\n{field}\n"
        f"  {problem} [type=value_error, input_value={value!r}]"
    )


ENGINE_DEAD: Final = (
    "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
)


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / BYTES_PER_GIB:.2f}"


def _size(size_bytes: float) -> str:
    if size_bytes >= BYTES_PER_GIB:
        return f"{_gib(size_bytes)} GiB"
    return f"{size_bytes / BYTES_PER_MIB:.2f} MiB"
