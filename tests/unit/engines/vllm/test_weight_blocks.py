"""What the allocator counts for weights."""

from dataclasses import replace

import pytest

from autotune.engines.model_shape import ModelShape, shape_of
from autotune.engines.vllm.weight_blocks import LIMIT_BYTES, Blocks, Loaded, loaded
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB
from tests.support.vllm_ledgers import facts

MIB = BYTES_PER_MIB


def used_mib(limit_bytes: int | None, *sizes_mib: float) -> float:
    """Blocks in use after tensors of such sizes."""
    blocks = Blocks(limit_bytes)
    for size in sizes_mib:
        blocks.take(round(size * MIB))
    return blocks.used_bytes / MIB


def of(model: str, limit_bytes: int | None = LIMIT_BYTES, **changes: bool) -> Loaded:
    """A model's weights on one GPU."""
    return loaded(
        shape_of(facts(model)),
        gpus=1,
        limit_bytes=limit_bytes,
        wide_zero_points=changes.get("wide_zero_points", False),
    )


def test_a_large_tensor_takes_whole_steps_where_blocks_are_not_split() -> None:
    """52.5 MiB of a gate and up projection are 54 under the limit, 52.5 without."""
    assert used_mib(LIMIT_BYTES, 52.5) == 54
    assert used_mib(None, 52.5) == 52.5


def test_a_rest_of_a_mebibyte_and_less_stays_with_its_block() -> None:
    """129.5 MiB are 130 either way; the second 9.75 of a segment of 20 are 10.25."""
    assert used_mib(None, 129.5) == 130
    assert used_mib(None, 8) == 8
    assert used_mib(None, 9.75, 9.75) == 9.75 + 10.25


def test_small_tensors_share_segments_of_two_mebibytes() -> None:
    """A bias of 9 KB takes 9,216 bytes: sizes are rounded to 512."""
    blocks = Blocks(LIMIT_BYTES)
    blocks.take(9_001)
    assert (blocks.used_bytes, blocks.reserved_bytes) == (9_216, 2 * MIB)
    blocks.take(500)
    assert (blocks.used_bytes, blocks.reserved_bytes) == (9_728, 2 * MIB)


@pytest.mark.parametrize(
    ("model", "limit_bytes", "said_gib"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", None, 2.8871),  # 0.11.2 on an L40S
        ("Qwen/Qwen2.5-1.5B-Instruct", LIMIT_BYTES, 2.98),  # 0.26.0 on an H100
        ("Qwen/Qwen2.5-7B-Instruct", None, 14.25),  # 0.18.0 on a V100
        ("Qwen/Qwen2.5-7B-Instruct", LIMIT_BYTES, 14.29),  # 0.24.0 on an RTX 4090
        ("Qwen/Qwen2.5-14B-Instruct", LIMIT_BYTES, 27.57),  # 0.26.0 on an H100
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", LIMIT_BYTES, 5.29),  # 0.28.0 on an RTX 3070
        ("Qwen/Qwen2.5-14B-Instruct-AWQ", None, 9.38),  # 0.19.1 on an A10G
        ("Qwen/Qwen3-14B", None, 27.5185),  # 0.11.0 on an L40S
        ("Qwen/Qwen3-14B-AWQ", LIMIT_BYTES, 9.44),  # 0.29.0 on an L40S
    ],
)
def test_what_loading_took_is_what_the_log_says(
    model: str, limit_bytes: int | None, said_gib: float
) -> None:
    """To 6 MiB, of weights from 3 to 28 GiB."""
    assert of(model, limit_bytes).used_bytes / BYTES_PER_GIB == pytest.approx(said_gib, abs=0.006)


def test_a_hopper_s_kernel_widens_the_zero_points() -> None:
    """7B in AWQ: 16 bit for each group of 128, where 4 are on other cards; 5.38 GiB by its log."""
    name = "Qwen/Qwen2.5-7B-Instruct-AWQ"
    wide = of(name, wide_zero_points=True).used_bytes
    more = 28 * (3_584 * (4_608 + 3_584 + 2 * 18_944) + 18_944 * 3_584) // 128 * 12 // 8
    assert wide - of(name).used_bytes == pytest.approx(more, rel=0.15)
    assert wide / BYTES_PER_GIB == pytest.approx(5.38, abs=0.01)


def test_what_is_left_of_segments_is_held() -> None:
    """0.5B and 1.5B: 53 and 57 MiB; a reserved block counts from 0.27.0 on."""
    held = [
        of(f"Qwen/Qwen2.5-{size}-Instruct").held_bytes / BYTES_PER_MIB for size in ("0.5B", "1.5B")
    ]
    assert held == pytest.approx([53.4, 57.2], abs=0.1)


def test_ranks_share_the_matrices() -> None:
    """Half of 7B on each of two, the rotary table whole."""
    shape: ModelShape = shape_of(facts("Qwen/Qwen2.5-7B-Instruct"))
    whole, half = (
        loaded(shape, gpus=gpus, limit_bytes=None, wide_zero_points=False) for gpus in (1, 2)
    )
    assert half.used_bytes == pytest.approx(whole.used_bytes / 2, rel=0.01)
    narrow = replace(shape, tied_embeddings=True)
    tied = loaded(narrow, gpus=1, limit_bytes=None, wide_zero_points=False)
    assert whole.used_bytes - tied.used_bytes == pytest.approx(152_064 * 3_584 * 2, rel=0.01)
