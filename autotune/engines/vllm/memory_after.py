"""GPU memory that appears once vLLM has fixed the size of its KV cache: in use, in no ledger."""

from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

AFTER_PROFILING_BYTES: Final = 150 * BYTES_PER_MIB
"""Kernels and buffers: cuBLAS and attention workspaces, Triton kernels of the sampler. What vLLM
allows (v1/worker/gpu_worker.py: `redundancy_buffer_memory`)."""

HOPPER_AFTER_PROFILING_BYTES: Final = round(0.35 * BYTES_PER_GIB)
"""The same on an H100: 0.27 to 0.42 GiB in 23 trials (0.26.0), all else on the card taken off."""

FLASHINFER_WORKSPACE_BYTES: Final = 394 * BYTES_PER_MIB
"""The least that FLASHINFER makes for itself when it first plans (envs.py:
VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE)."""

FLASHINFER_BYTES_PER_ELEMENT: Final = 16
"""What it makes for each token of a step and element of its query heads
(v1/attention/backends/flashinfer.py, `_get_workspace_buffer`, 0.26.0)."""


def after_profiling_bytes(shape: ModelShape, settings: MemorySettings) -> float:
    """What appears once KV memory is fixed, on one rank."""
    found = HOPPER_AFTER_PROFILING_BYTES if settings.is_hopper else AFTER_PROFILING_BYTES
    if settings.attention_backend != "FLASHINFER":
        return float(found)
    width = shape.heads * shape.head_dim / settings.gpus
    step = settings.max_num_batched_tokens * width * FLASHINFER_BYTES_PER_ELEMENT
    return found + max(FLASHINFER_WORKSPACE_BYTES, step)
