"""Activations: what a step of the model takes at its peak, and the sampler after it."""

from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.releases import Release
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

SAMPLER_WITHOUT_SORT_FIRST: Final = Release(0, 17, 0)
"""From here on a Triton kernel replaces the sort of the whole vocabulary (sample/ops)."""

SORT_COPIES: Final = 9.66
"""Sampler peak in copies of the 32-bit logits, with the sort: 1.40 GiB for 256 sequences and
151,936 tokens in six ledgers from 0.10.2 to 0.14."""

TRITON_COPIES: Final = 3.8
"""The same without the sort: logits in 16 and 32 bit, probabilities, noise, a buffer."""

SMALL_BYTES: Final = round(0.06 * BYTES_PER_GIB)
"""What the first runner takes beside the copies, in the same ledgers."""

BLAS_BYTES: Final = round(8.125 * BYTES_PER_MIB)
HOPPER_BLAS_BYTES: Final = 32 * BYTES_PER_MIB
"""cuBLAS's workspace, which PyTorch allocates (aten/src/ATen/cuda/CublasHandlePool.cpp); a model
whose layers are quantized has none before its logits."""


def activation_bytes(shape: ModelShape, settings: MemorySettings, release: Release) -> float:
    """The larger of a forward pass of a full step and the sampler on a full batch."""
    sequences = min(settings.max_num_seqs, settings.max_num_batched_tokens)
    step = settings.max_num_batched_tokens
    logits = sequences * shape.vocab * 4
    forward = step_bytes(shape, settings, step) + blas_bytes(shape, settings)
    if settings.second_runner:
        hidden = (step + sequences) * shape.hidden * shape.dtype_bytes
        return max(forward, 0.5 * logits + hidden + _workspace(settings))
    # The Triton kernel takes batches of 8 and more (sample/ops/topk_topp_sampler.py).
    sorts = release < SAMPLER_WITHOUT_SORT_FIRST or sequences < 8
    return max(forward, (SORT_COPIES if sorts else TRITON_COPIES) * logits + SMALL_BYTES)


def loaded_step_bytes(shape: ModelShape, settings: MemorySettings, profiled: float) -> float:
    """The same under load, where it is more: a full batch is sampled with a copy of its logits.

    The second runner warms up so once KV memory is fixed (v1/worker/gpu/warmup.py), and profiles
    without the copy (sample/sampler.py: `logits.clone()`).
    """
    if not settings.second_runner:
        return profiled
    sequences = min(settings.max_num_seqs, settings.max_num_batched_tokens // 2)
    copies = 2 * sequences * shape.vocab * shape.dtype_bytes
    return max(profiled, copies + _workspace(settings))


def step_bytes(shape: ModelShape, settings: MemorySettings, tokens: int) -> float:
    """A forward pass of so many tokens at its peak, in a compiled model.

    The residual stream and what goes into and comes out of the feed-forward layer, beside that
    layer's own three: to 0.2 MiB the growth of the profile of 7B between steps of 2,048 and 4,096
    tokens (0.26.0).
    """
    return tokens * (3 * shape.hidden + 3 * _wide(shape) / settings.gpus) * shape.dtype_bytes


def blas_bytes(shape: ModelShape, settings: MemorySettings) -> float:
    """CuBLAS's workspace, where a forward pass takes one."""
    return 0.0 if shape.quantization else _workspace(settings)


def _workspace(settings: MemorySettings) -> float:
    return float(HOPPER_BLAS_BYTES if settings.is_hopper else BLAS_BYTES)


def _wide(shape: ModelShape) -> int:
    """Width of the widest feed-forward layer, as one token sees it."""
    dense = shape.intermediate if shape.moe_layers < shape.layers else 0
    mixture = shape.experts_per_token * shape.moe_intermediate + shape.shared_intermediate
    return max(dense, mixture if shape.moe_layers else 0)
