"""What "Model loading took" counts: the blocks that PyTorch's allocator cuts for the weights.

PyTorch counts an allocation by its block (c10/cuda/CUDACachingAllocator.cpp): sizes are rounded to
512 bytes; up to 1 MiB come out of segments of 2 MiB, below 10 MiB out of segments of 20, larger
ones get a segment in whole steps of 2 MiB. What is left of a block is split off if it is more than
1 MiB; under `max_split_size_mb` a block of that size and more is not split at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.units import BYTES_PER_MIB

SMALL_BYTES: Final = BYTES_PER_MIB
SMALL_SEGMENT_BYTES: Final = 2 * BYTES_PER_MIB
LARGE_FROM_BYTES: Final = 10 * BYTES_PER_MIB
SHARED_SEGMENT_BYTES: Final = 20 * BYTES_PER_MIB
STEP_BYTES: Final = 2 * BYTES_PER_MIB
SMALLEST_BYTES: Final = 512

LIMIT_BYTES: Final = 20 * BYTES_PER_MIB
"""`max_split_size_mb` while weights are loaded (v1/worker/gpu_worker.py,
`_scoped_allocator_max_split`)."""


class Blocks:
    """Memory as the allocator counts it; nothing is given back.

    Args:
        limit_bytes: Blocks of this size and more are not split; None for no limit.

    Attributes:
        used_bytes: Blocks in use.
        reserved_bytes: Segments taken from the driver.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit = limit_bytes
        self._free: dict[bool, list[int]] = {True: [], False: []}
        self.used_bytes = 0
        self.reserved_bytes = 0

    def take(self, asked_bytes: int) -> None:
        """Allocate a tensor: from the smallest block that holds it, else from a new segment."""
        size = max(SMALLEST_BYTES, -(-asked_bytes // SMALLEST_BYTES) * SMALLEST_BYTES)
        is_small = size <= SMALL_BYTES
        free = self._free[is_small]
        fitting = [block for block in free if block >= size]
        block = min(fitting, default=0)
        if fitting:
            free.remove(block)
        else:
            block = _segment(size)
            self.reserved_bytes += block
        left = block - size
        if self._is_split(left, size, is_small=is_small):
            free.append(left)
            block = size
        self.used_bytes += block

    def _is_split(self, left: int, size: int, *, is_small: bool) -> bool:
        if is_small:
            return left >= SMALLEST_BYTES
        return left > SMALL_BYTES and (self._limit is None or size < self._limit)


def _segment(size: int) -> int:
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < LARGE_FROM_BYTES:
        return SHARED_SEGMENT_BYTES
    return -(-size // STEP_BYTES) * STEP_BYTES


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """GPU memory of weights.

    Attributes:
        used_bytes: Blocks in use.
        held_bytes: What is left of the segments that they were cut from.
    """

    used_bytes: int
    held_bytes: int


@cache
def loaded(
    shape: ModelShape, *, gpus: int, limit_bytes: int | None, wide_zero_points: bool
) -> Loaded:
    """A dense decoder's weights and rotary table on one rank.

    Args:
        shape: The model.
        gpus: Tensor-parallel ranks.
        limit_bytes: As `Blocks` takes it.
        wide_zero_points: Whether zero points of quantized weights are kept in 16 bit.
    """
    blocks = Blocks(limit_bytes)
    for tensor in _tensors(shape, gpus, wide_zero_points=wide_zero_points):
        blocks.take(tensor)
    return Loaded(
        used_bytes=blocks.used_bytes, held_bytes=blocks.reserved_bytes - blocks.used_bytes
    )


def _tensors(shape: ModelShape, gpus: int, *, wide_zero_points: bool) -> Iterator[int]:
    """Bytes of the tensors of one rank, in the order in which models/qwen2.py makes them."""
    item, hidden = shape.dtype_bytes, shape.hidden
    embedding = shape.vocab * hidden * item // gpus
    query = shape.heads * shape.head_dim // gpus
    qkv = query + 2 * max(1, shape.kv_heads // gpus) * shape.head_dim
    wide = shape.intermediate // gpus
    yield embedding
    for layer in range(shape.layers):
        yield from _matrix(shape, hidden, qkv, wide_zero_points=wide_zero_points)
        if shape.qkv_bias:
            yield qkv * item
        yield from _matrix(shape, query, hidden, wide_zero_points=wide_zero_points)
        if layer == 0:  # one table for all layers: cos and sin, half a head wide each
            yield shape.max_position_tokens * shape.head_dim * item
        if shape.qk_norm:
            yield from (shape.head_dim * item,) * 2
        first = (shape.mlp_matrices - 1) * wide  # gate and up projection are one matrix
        yield from _matrix(shape, hidden, first, wide_zero_points=wide_zero_points)
        yield from _matrix(shape, wide, hidden, wide_zero_points=wide_zero_points)
        yield from (hidden * item,) * 2
    yield hidden * item
    if not shape.tied_embeddings:
        yield embedding


def _matrix(shape: ModelShape, rows: int, columns: int, *, wide_zero_points: bool) -> Iterator[int]:
    """A linear layer: its weights and, of a quantized one, zero points and scales."""
    weights = rows * columns
    if shape.quantization is None:
        yield weights * shape.dtype_bytes
        return
    yield weights * shape.weight_bits // 8
    if shape.group_size is None:
        yield columns * shape.dtype_bytes
        return
    scales = -(-rows // shape.group_size) * columns
    yield scales * (16 if wide_zero_points else shape.weight_bits) // 8
    yield scales * shape.dtype_bytes
