"""Relations of the memory model that hold for every setting."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.kv_blocks import (
    kv_layout,
    kv_tokens,
    longest_request_tokens,
    request_blocks,
)
from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.releases import parse_release
from autotune.records import Configuration, Scalar
from autotune.units import BYTES_PER_GIB
from tests.support import vllm_flags
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B_AWQ, context
from tests.support.vllm_ledgers import NO_CACHE

RELEASES = st.sampled_from([vllm_flags.version(name) for name in vllm_flags.RELEASES])
CONFIGS = st.sampled_from([QWEN_1B5, QWEN_7B_AWQ])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "gpu_memory_utilization": st.floats(0.1, 0.98),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8"]),
        "max_model_len": st.integers(1, 32_768),
        "max_num_seqs": st.integers(1, 512),
        "max_num_batched_tokens": st.integers(512, 32_768),
        "kv_offload_gib": st.integers(0, 100),
        "enforce_eager": st.booleans(),
        "kv_cache_memory_gib": st.floats(0.1, 16.0),
    },
)


@given(config=CONFIGS, release=RELEASES, values=VALUES, mib=st.integers(4_000, 100_000))
@settings(max_examples=200, deadline=None)
def test_a_repair_would_not_be_screened_for_the_gpu_again(
    config: dict[str, object], release: str, values: dict[str, Scalar], mib: int
) -> None:
    """And a failure is short by exactly its margin."""
    start = context(config, release=release, gpu_mib=mib, host_gib=512)
    failure = MemoryModel().screen(Configuration.of(values), start).failure
    if failure is None:
        return
    assert failure.needed_gib is not None
    assert failure.available_gib is not None
    assert failure.margin_gib is not None
    assert failure.margin_gib < 0
    assert abs(failure.available_gib - failure.needed_gib - failure.margin_gib) < 0.002
    if failure.repair:
        mended = {**values, **failure.repair}
        again = MemoryModel().screen(Configuration.of(mended), start).failure
        assert again is None or set(again.repair) != set(failure.repair)


@given(release=RELEASES, values=VALUES, more=st.integers(1, 20_000))
@settings(max_examples=100, deadline=None)
def test_a_larger_card_never_fits_less(release: str, values: dict[str, Scalar], more: int) -> None:
    """With the step's size asked for, since its default grows with the card."""
    asked = {"max_num_seqs": 256, "max_num_batched_tokens": 2048, **values}
    small, large = (
        MemoryModel().screen(
            Configuration.of(asked),
            context(QWEN_7B_AWQ, release=release, gpu_mib=mib, host_gib=512),
        )
        for mib in (12_000, 12_000 + more)
    )
    assert small.failure is not None or large.failure is None
    assert large.predicted["kv_cache_bytes"] >= small.predicted["kv_cache_bytes"]


@given(config=CONFIGS, release=RELEASES, values=VALUES, mib=st.integers(4_000, 100_000))
@settings(max_examples=100, deadline=None)
def test_a_cold_start_has_no_more_and_is_screened_no_sooner(
    config: dict[str, object], release: str, values: dict[str, Scalar], mib: int
) -> None:
    """The next start of the same configuration would be warm."""
    warm = context(config, release=release, gpu_mib=mib, host_gib=512)
    cold = replace(warm, cache_dir=NO_CACHE)
    said = [MemoryModel().screen(Configuration.of(values), start) for start in (warm, cold)]
    assert said[1].predicted["kv_cache_bytes"] <= said[0].predicted["kv_cache_bytes"]
    assert (said[0].failure is None) == (said[1].failure is None)


@given(
    config=CONFIGS,
    release=RELEASES,
    kv_bytes=st.floats(0, 40 * BYTES_PER_GIB),
    length=st.integers(1, 32_768),
    cut=st.tuples(st.sampled_from(["auto", "fp8"]), st.sampled_from([16, 32, 64, 128])),
)
@settings(max_examples=200, deadline=None)
def test_tokens_never_take_more_than_the_bytes(
    config: dict[str, object], release: str, kv_bytes: float, length: int, cut: tuple[str, int]
) -> None:
    """The longest request fits, one block more does not, and more bytes never hold less."""
    dtype, block = cut
    start = context(config)
    shape = shape_of(start.model)
    layout = kv_layout(shape, kv_cache_dtype=dtype, block_tokens=block)
    each = shape.kv_bytes_per_token(dtype)

    def tokens(room: float) -> int:
        return kv_tokens(layout, room, release=parse_release(release),
                         max_model_len_tokens=length, batch_tokens=2048)  # fmt: skip

    assert tokens(kv_bytes) * each <= kv_bytes + 1
    assert tokens(kv_bytes) <= tokens(kv_bytes + BYTES_PER_GIB)
    longest = longest_request_tokens(layout, kv_bytes, batch_tokens=2048)
    assert request_blocks(layout, longest, batch_tokens=2048) * layout.block_bytes <= kv_bytes
    over = request_blocks(layout, longest + 1, batch_tokens=2048) * layout.block_bytes
    assert over > kv_bytes - layout.block_bytes
