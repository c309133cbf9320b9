"""vLLM's own arithmetic from KV bytes to blocks to tokens.

Follows `v1/core/kv_cache_utils.py` (from 0.33.0 also `kv_cache_planning.py`): layers of one kind
form groups of equal size, a block is one page per layer of a group, and what is reported as
"KV cache size: N tokens" is counted differently before and after 0.20.0.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.releases import Release

BY_CONCURRENCY_FIRST: Final = Release(0, 20, 0)
"""From here on tokens = int(blocks / blocks of the longest request x its length)."""


@dataclass(frozen=True, kw_only=True)
class KvLayout:
    """How a model's KV cache is cut into blocks.

    Attributes:
        page_bytes: One layer's part of a block.
        group_layers: Layers per group: pages per block.
        full_groups: Groups of layers that see everything.
        window_groups: Groups of layers that see a window.
        window_tokens: Reach of those.
        block_tokens: Tokens in a block.
    """

    page_bytes: int
    group_layers: int
    full_groups: int
    window_groups: int
    window_tokens: int
    block_tokens: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of the pool."""
        return self.page_bytes * self.group_layers

    @property
    def groups(self) -> int:
        """Groups that share the pool."""
        return self.full_groups + self.window_groups


def kv_layout(
    shape: ModelShape, *, kv_cache_dtype: str, block_tokens: int, gpus: int = 1
) -> KvLayout:
    """Cut a model's KV cache into blocks, as one of `gpus` tensor-parallel ranks sees it.

    Two kinds of layers form groups as large as the smaller kind, or as the larger one if that
    has less than 1.5 times the layers (`_get_kv_cache_groups_uniform_page_size`).
    """
    per_layer = shape.kv_bytes_per_token_and_layer(kv_cache_dtype)
    if shape.kv_latent_dim is None:  # KV heads are shared out; the latent vector is not
        per_layer = per_layer // shape.kv_heads * max(1, shape.kv_heads // max(1, gpus))
    full = shape.layers - shape.sliding_layers - shape.stateless_layers
    window = shape.sliding_layers
    kinds = [count for count in (full, window) if count > 0] or [1]
    largest, smallest = max(kinds), min(kinds)
    size = largest if largest < 1.5 * smallest else smallest
    return KvLayout(
        page_bytes=per_layer * block_tokens,
        group_layers=size,
        full_groups=-(-full // size),
        window_groups=-(-window // size),
        window_tokens=shape.sliding_window_tokens or 0,
        block_tokens=block_tokens,
    )


def request_blocks(layout: KvLayout, length_tokens: int, *, batch_tokens: int) -> int:
    """Blocks that one request of a length can hold at most.

    A window holds its own tokens and those of one step, and one block more because it need not
    begin at a block's edge (`SlidingWindowSpec.max_admission_blocks_per_request`).
    """
    blocks = layout.full_groups * -(-length_tokens // layout.block_tokens)
    if layout.window_groups:
        seen = min(layout.window_tokens - 1 + batch_tokens, length_tokens)
        blocks += layout.window_groups * (-(-seen // layout.block_tokens) + 1)
    return blocks


def pool_blocks(layout: KvLayout, kv_bytes: float) -> int:
    """Whole blocks that fit (`get_num_blocks`); never negative."""
    return max(0, int(kv_bytes // layout.page_bytes // layout.group_layers))


def kv_tokens(
    layout: KvLayout,
    kv_bytes: float,
    *,
    release: Release,
    max_model_len_tokens: int,
    batch_tokens: int,
) -> int:
    """Tokens that vLLM will report for so many KV bytes."""
    blocks = pool_blocks(layout, kv_bytes)
    if release < BY_CONCURRENCY_FIRST:
        return blocks // layout.groups * layout.block_tokens
    each = request_blocks(layout, max_model_len_tokens, batch_tokens=batch_tokens)
    return int(blocks / each * max_model_len_tokens) if each else 0


def longest_request_tokens(layout: KvLayout, kv_bytes: float, *, batch_tokens: int) -> int:
    """Longest request, in whole blocks, that fits into so many KV bytes; 0 if none does."""
    blocks = pool_blocks(layout, kv_bytes)
    if layout.window_groups == 0:
        return blocks // layout.full_groups * layout.block_tokens
    low, high = 0, blocks * layout.block_tokens
    while low < high:
        middle = -(-(low + high) // (2 * layout.block_tokens)) * layout.block_tokens
        if request_blocks(layout, middle, batch_tokens=batch_tokens) <= blocks:
            low = middle
        else:
            high = middle - layout.block_tokens
    return low
