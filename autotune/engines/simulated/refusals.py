"""The words with which vLLM refuses to start, release by release.

Texts are those of the releases' sources: `v1/worker/utils.py`, `v1/worker/gpu_model_runner.py`,
`v1/core/kv_cache_utils.py`, `v1/kv_offload/`, `platforms/cuda.py`, `config/*.py`. The classifier
for real vLLM reads them, so they must stay to the letter.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.simulated.release import Release
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

EXIT_USAGE: Final = 2
EXIT_ERROR: Final = 1
EXIT_KILLED: Final = 137
_SHM: Final = "/dev/shm"  # noqa: S108 - a word of a message
_DOCS: Final = "https://docs.vllm.ai/en/latest/configuration/conserving_memory/"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a simulated server does not come up.

    Attributes:
        lines: What it writes last, without the log's line heads.
        exit_code: How it ends.
        in_core: Whether the engine core dies, so that the API server wraps the error.
        oom_killed: Whether a memory limit did it.
    """

    lines: tuple[str, ...]
    exit_code: int = EXIT_ERROR
    in_core: bool = True
    oom_killed: bool = False


class StartRefused(Exception):  # noqa: N818 - not an error of ours: the server's answer
    """Carries a refusal up to where the start is played."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.lines[-1] if refusal.lines else "killed")
        self.refusal = refusal


def usage(message: str) -> Refusal:
    """Argparse ends with the usage and code 2."""
    lines = (
        "usage: vllm serve [model_tag] [options]",
        f"vllm serve: error: {message}",
    )
    return Refusal(lines=lines, exit_code=EXIT_USAGE, in_core=False)


def config_error(text: str) -> Refusal:
    """A configuration object refuses its values (pydantic)."""
    return Refusal(lines=_traceback(text), in_core=False)


def core_error(text: str, *before: str, frame: str = "") -> Refusal:
    """The engine core raises.

    Args:
        text: The exception.
        before: Lines that were logged before it.
        frame: Function in which it happened: it tells the phase of the start.
    """
    return Refusal(lines=(*before, *_traceback(text, frame)))


def killed(*, by_limit: bool) -> Refusal:
    """The kernel ends the process: no word of Python's."""
    return Refusal(lines=(), exit_code=EXIT_KILLED, in_core=False, oom_killed=by_limit)


def cuda_oom(wanted: float, total: float, free: float, used: float) -> str:
    """PyTorch's out-of-memory text (c10/cuda/CUDACachingAllocator.cpp)."""
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {_size(wanted)}. GPU 0 has "
        f"a total capacity of {_gib(total)} of which {_size(max(0.0, free))} is free. Including "
        f"non-PyTorch memory, this process has {_gib(used)} memory in use."
    )


def free_memory(free: float, total: float, share: float, wanted: float) -> str:
    """`v1/worker/utils.py`, `request_memory`."""
    return (
        f"ValueError: Free memory on device cuda:0 ({free / BYTES_PER_GIB:.2f}/"
        f"{total / BYTES_PER_GIB:.2f} GiB) on startup is less than desired GPU memory utilization "
        f"({share}, {wanted / BYTES_PER_GIB:.2f} GiB). Decrease GPU memory utilization or reduce "
        "GPU memory used by other processes."
    )


def no_blocks() -> str:
    """`v1/core/kv_cache_utils.py`, `_check_enough_kv_cache_memory`."""
    return (
        "ValueError: No available memory for the cache blocks. Try increasing "
        f"`gpu_memory_utilization` when initializing the engine. See {_DOCS} for more details."
    )


def too_long(release: Release, length: int, needed: float, available: float, fits: int) -> str:
    """The same; `models's` until 0.21.0."""
    whose = "model's" if release.since(0, 22) else "models's"
    estimate = (
        f"Based on the available memory, the estimated maximum model length is {fits}. "
        if fits > 0
        else ""
    )
    return (
        f"ValueError: To serve at least one request with the {whose} max seq len ({length}), "
        f"({needed / BYTES_PER_GIB:.2f} GiB KV cache is needed, which is larger than the available "
        f"KV cache memory ({available / BYTES_PER_GIB:.2f} GiB). {estimate}Try increasing "
        f"`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine. "
        f"See {_DOCS} for more details."
    )


def no_auto_length(available: float) -> str:
    """`_auto_fit_max_model_len` (0.14.0)."""
    return (
        "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve even "
        f"a single token ({available / BYTES_PER_GIB:.2f} GiB). Try increasing "
        "`gpu_memory_utilization`."
    )


def sampler_warmup(sequences: int) -> str:
    """`_dummy_sampler_run`."""
    return (
        "RuntimeError: CUDA out of memory occurred when warming up sampler with "
        f"{sequences} dummy requests. Please try lowering `max_num_seqs` or "
        "`gpu_memory_utilization` when initializing the engine."
    )


def shm(needed: float, free: float) -> str:
    """`v1/kv_offload/cpu/shared_offload_region.py` (0.28.0)."""
    return (
        "RuntimeError: Insufficient space in /dev/shm for CPU KV offload shared region in "
        f"{_SHM}: {needed / BYTES_PER_MIB:.0f} MiB required, {free / BYTES_PER_MIB:.0f} MiB free. "
        "Increase /dev/shm (e.g. --shm-size or --ipc=host)."
    )


def pinning() -> str:
    """`torch.zeros(..., pin_memory=True)` (0.14.0 to 0.26.0) when the host has no room."""
    return "torch.AcceleratorError: CUDA error: out of memory (cudaHostAlloc of the CPU KV cache)"


def invalid_backend(name: str, reasons: list[str]) -> str:
    """`platforms/cuda.py`, `get_attn_backend_cls` (0.11.1)."""
    return (
        f"ValueError: Selected backend AttentionBackendEnum.{name} is not valid for this "
        f"configuration. Reason: {reasons}"
    )


_FRAMES: Final = {
    "load_model": "v1/worker/gpu_model_runner.py",
    "load_weights": "model_executor/models/utils.py",
    "profile_run": "v1/worker/gpu_model_runner.py",
    "initialize_kv_cache": "v1/worker/gpu_model_runner.py",
    "capture_model": "v1/worker/gpu_model_runner.py",
    "compile_or_warm_up_model": "v1/worker/gpu_worker.py",
    "execute_model": "v1/worker/gpu_model_runner.py",
    "create_region": "v1/kv_offload/cpu/shared_offload_region.py",
    "create_offload_tensors": "v1/kv_offload/cpu/gpu_worker.py",
}
_PACKAGES: Final = "/usr/local/lib/python3.12/dist-packages/vllm"


def _traceback(text: str, frame: str = "") -> tuple[str, ...]:
    where = [("v1/engine/core.py", "run_engine_core")] if frame else []
    where += [(_FRAMES[frame], frame)] if frame else []
    lines = [f'  File "{_PACKAGES}/{file}", line {100 + len(name)}, in {name}'
             for file, name in where]  # fmt: skip
    return ("Traceback (most recent call last):", *lines, *text.splitlines())


def _size(size_bytes: float) -> str:
    if size_bytes >= BYTES_PER_GIB:
        return _gib(size_bytes)
    return f"{size_bytes / BYTES_PER_MIB:.2f} MiB"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / BYTES_PER_GIB:.2f} GiB"
