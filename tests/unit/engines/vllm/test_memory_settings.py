"""What memory depends on, as the engine will resolve it."""

import pytest

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.memory_settings import (
    MemorySettings,
    fixed_settings,
    memory_settings,
    real,
    whole,
)
from autotune.records import Configuration, Scalar
from autotune.seams.engine import LaunchContext
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import TINY, context


def settings(values: dict[str, Scalar], start: LaunchContext | None = None) -> MemorySettings:
    """Resolve a configuration."""
    start = start or context()
    return memory_settings(Configuration.of(values), start, shape_of(start.model))


@pytest.mark.parametrize(
    ("release", "share"), [("0.8.5", 0.9), ("0.19.1", 0.9), ("0.20.2", 0.92), ("0.33.0", 0.92)]
)
def test_the_share_s_default_is_the_release_s(release: str, share: float) -> None:
    """0.9 until 0.19, then 0.92 (config/cache.py)."""
    assert settings({}, context(release=release)).utilization == share


def test_defaults_of_a_small_card() -> None:
    """256 sequences and 2048 tokens in a step (engine/arg_utils.py)."""
    small = settings({})
    assert (small.max_num_seqs, small.max_num_batched_tokens) == (256, 2048)
    assert (small.block_tokens, small.max_model_len_tokens) == (16, 32_768)


@pytest.mark.parametrize(
    ("name", "mib", "release", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, "0.26.0", (1024, 8192)),
        ("NVIDIA A100-SXM4-80GB", 81_920, "0.26.0", (256, 2048)),
        ("NVIDIA A100-SXM4-80GB", 81_920, "0.10.0", (1024, 8192)),
        ("NVIDIA B200", 183_359, "0.30.0", (1024, 8192)),
        ("NVIDIA B200", 183_359, "0.33.0", (1024, 16_384)),
    ],
)
def test_defaults_of_large_cards(
    name: str, mib: int, release: str, expected: tuple[int, int]
) -> None:
    """From 70 GiB on more, without the A100 from 0.10.2 on; still more tokens in 0.33.0."""
    large = settings({}, context(release=release, gpu_name=name, gpu_mib=mib))
    assert (large.max_num_seqs, large.max_num_batched_tokens) == expected


def test_throughput_mode_doubles_the_defaults() -> None:
    """But not what is asked for."""
    mode: dict[str, Scalar] = {"performance_mode": "throughput"}
    assert settings(mode).max_num_seqs == 512
    assert settings({**mode, "max_num_seqs": 8}).max_num_seqs == 8


def test_short_requests_limit_a_step() -> None:
    """No step is longer than all sequences together."""
    assert settings({"max_model_len": 4, "max_num_seqs": 8}).max_num_batched_tokens == 32


def test_without_chunked_prefill_a_step_holds_the_longest_request() -> None:
    """Prompts are not cut."""
    assert settings({"chunked_prefill": False}).max_num_batched_tokens == 32_768


@pytest.mark.parametrize("asked", ["auto", -1, "-1"])
def test_a_length_may_be_left_to_the_engine(asked: Scalar) -> None:
    """It then fits it to the memory."""
    assert settings({"max_model_len": asked}).max_model_len_tokens is None


def test_fixed_arguments_count_and_the_configuration_wins() -> None:
    """As on the command line, where what comes last wins."""
    fixed = ("--max-model-len=8k", "--gpu-memory-utilization", "0.5", "--enforce-eager",
             "--kv_cache_dtype", "fp8", "--disable-log-stats")  # fmt: skip
    start = context(fixed=fixed)
    plain = settings({}, start)
    assert plain.max_model_len_tokens == 8000
    assert plain.utilization == 0.5
    assert plain.eager
    assert plain.kv_cache_dtype == "fp8"
    assert settings({"gpu_memory_utilization": 0.8}, start).utilization == 0.8


def test_a_flag_without_a_value_is_not_guessed() -> None:
    """The last argument has no successor."""
    assert fixed_settings(("--max-model-len",)) == {}


@pytest.mark.parametrize(
    ("text", "number"), [("32k", 32_000), ("4K", 4096), ("1.5M", 1_572_864), ("2m", 2_000_000)]
)
def test_human_numbers_are_vllm_s(text: str, number: int) -> None:
    """Small letters are decimal, capitals binary (engine/arg_utils.py, human_readable_int)."""
    assert whole(text) == number


@pytest.mark.parametrize("value", [None, True, "many", ""])
def test_what_is_no_number_is_none(value: Scalar | None) -> None:
    """Not 0."""
    assert real(value) is None


def test_kv_memory_asked_for_directly() -> None:
    """In GiB or in bytes; on the CPU also by the variable, which a setting overrides."""
    assert settings({"kv_cache_memory_gib": 2}).kv_bytes == 2 * BYTES_PER_GIB
    start = context(fixed=("--kv-cache-memory-bytes", "1000000000"))
    assert settings({}, start).kv_bytes == 1_000_000_000
    cpu = context(TINY, platform="cpu", env={"VLLM_CPU_KVCACHE_SPACE": "3"})
    assert settings({}, cpu).kv_bytes == 3 * BYTES_PER_GIB
    assert settings({"cpu_kv_cache_gib": 1}, cpu).kv_bytes == BYTES_PER_GIB
    assert settings({}, context(TINY, platform="cpu")).kv_bytes is None


def test_the_cpu_has_its_own_blocks_and_no_graphs() -> None:
    """128 tokens in a block (platforms/cpu.py)."""
    cpu = settings({}, context(TINY, platform="cpu"))
    assert (cpu.block_tokens, cpu.eager, cpu.max_num_seqs) == (128, True, 128)
