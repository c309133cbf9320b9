"""Command lines are read as each release reads them."""

import pytest

from autotune.engines.simulated.arguments import settings_from
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.options import OPTIONS, names_in
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.engines.vllm.capabilities import declared
from autotune.errors import SpecError
from tests.unit.engines.simulated.rig import QWEN_7B_AWQ, machine_of


def _settings(
    *options: str, release: str = "0.33.0", card: str = "rtx-4090", **environment: str
) -> ServeSettings:
    machine = machine_of(card_named(card), QWEN_7B_AWQ, release)
    return settings_from(("vllm", "serve", "m", *options), environment, machine)


@pytest.mark.parametrize(
    "release", ["0.8.5", "0.10.0", "0.11.2", "0.13.0", "0.17.1", "0.20.2", "0.26.0", "0.33.0"]
)
def test_every_option_that_the_release_table_writes_is_known(release: str) -> None:
    """What vLLM's launch writes for a release, the simulated server of that release takes."""
    missing = declared(release).flags - names_in(release_named(release))
    assert not missing


@pytest.mark.parametrize(
    ("card", "release", "sequences", "budget"),
    [
        ("rtx-4090", "0.33.0", 256, 2048),
        ("a100-80", "0.33.0", 256, 2048),
        ("h100", "0.33.0", 1024, 8192),
        ("h200", "0.26.0", 1024, 8192),
    ],
)
def test_batch_defaults_follow_the_card(
    card: str, release: str, sequences: int, budget: int
) -> None:
    """`get_batch_defaults`: more on cards of 70 GiB and more, the A100 aside."""
    found = _settings(card=card, release=release)
    assert (found.max_num_seqs, found.token_budget) == (sequences, budget)


def test_a_default_number_of_sequences_follows_a_small_budget() -> None:
    """Only what was asked for is refused."""
    assert _settings("--max-num-batched-tokens", "128").max_num_seqs == 128
    with pytest.raises(StartRefused, match="must be greater than or equal to max_num_seqs"):
        _settings("--max-num-batched-tokens", "128", "--max-num-seqs", "256")


def test_throughput_mode_doubles_defaults_only() -> None:
    """0.17.0 and later: what was given stays."""
    plain = _settings("--performance-mode", "throughput")
    given = _settings("--performance-mode", "throughput", "--max-num-seqs", "64")
    assert (plain.max_num_seqs, plain.token_budget) == (512, 4096)
    assert (given.max_num_seqs, given.token_budget) == (64, 4096)


@pytest.mark.parametrize(
    "options",
    [
        ("--kv_cache_dtype", "fp8"),
        ("--kv-cache-dtype=fp8",),
        ("--kv-cache-dt", "fp8"),
        ("--kv-cache-dtype", "auto", "--kv-cache-dtype", "fp8"),
    ],
)
def test_options_may_be_written_in_many_ways(options: tuple[str, ...]) -> None:
    """Underscores, an equals sign, a unique beginning, and the last one counts."""
    assert _settings(*options).kv_cache_dtype == "fp8"


@pytest.mark.parametrize(("text", "value"), [("8k", 8000), ("8K", 8192), ("2M", 2 * 1024**2)])
def test_numbers_may_carry_a_unit(text: str, value: int) -> None:
    """Small letters are decimal, capitals binary (`human_readable_int`)."""
    assert _settings("--max-num-batched-tokens", text).token_budget == value


@pytest.mark.parametrize(
    ("release", "options", "expected"),
    [
        ("0.13.0", (), False),
        ("0.13.0", ("--async-scheduling",), True),
        ("0.14.0", (), True),
        ("0.14.0", ("--no-async-scheduling",), False),
    ],
)
def test_async_scheduling_is_the_default_from_0_14(
    release: str, options: tuple[str, ...], expected: bool
) -> None:
    """Before, it had to be asked for."""
    assert _settings(*options, release=release).async_scheduling is expected


def test_multi_step_scheduling_falls_back_to_v0_in_silence() -> None:
    """0.8 to 0.10.0: a warning, the old engine, no chunked prefill."""
    found = _settings("--num-scheduler-steps", "10", release="0.9.2")
    assert (found.v1, found.scheduler_steps, found.async_scheduling) == (False, 10, False)
    assert "Falling back to V0" in found.warnings[0]


def test_the_environment_can_forbid_the_fall_back() -> None:
    """VLLM_USE_V1=1 turns it into an error."""
    with pytest.raises(StartRefused, match="VLLM_USE_V1=1 is not supported"):
        _settings("--num-scheduler-steps", "10", release="0.9.2", VLLM_USE_V1="1")


@pytest.mark.parametrize(
    ("release", "expected"), [("0.14.1", "FLASHINFER"), ("0.15.1", "FLASH_ATTN")]
)
def test_the_backend_variable_is_read_to_0_14(release: str, expected: str) -> None:
    """Later releases ignore it without a word."""
    found = _settings(release=release, VLLM_ATTENTION_BACKEND="FLASHINFER")
    assert found.attention_backend == expected


@pytest.mark.parametrize(
    ("card", "release", "backend"),
    [
        ("h100", "0.26.0", "FLASH_ATTN"),
        ("rtx-5070", "0.26.0", "FLASHINFER"),
        ("rtx-3090", "0.26.0", "FLASHINFER"),
        ("rtx-4090", "0.11.0", "TRITON_ATTN"),
    ],
)
def test_an_fp8_cache_picks_the_first_backend_that_can(
    card: str, release: str, backend: str
) -> None:
    """FlashAttention on Hopper, FlashInfer elsewhere, Triton up to 0.11.0."""
    found = _settings("--kv-cache-dtype", "fp8", card=card, release=release)
    assert found.attention_backend == backend


@pytest.mark.parametrize(
    ("options", "mode", "largest"),
    [
        ((), GraphMode.FULL, 512),
        (("--max-num-seqs", "16"), GraphMode.FULL, 32),
        (("--enforce-eager",), GraphMode.EAGER, 0),
        (("-O0",), GraphMode.EAGER, 0),
        (("-O1",), GraphMode.PIECEWISE, 512),
        (
            ("--compilation-config", '{"cudagraph_mode": "PIECEWISE"}'),
            GraphMode.PIECEWISE,
            512,
        ),
        (("--compilation-config", '{"cudagraph_mode": "NONE"}'), GraphMode.COMPILED, 0),
    ],
)
def test_graph_modes(options: tuple[str, ...], mode: GraphMode, largest: int) -> None:
    """Levels, modes and sizes of graphs (`_set_cudagraph_sizes`)."""
    found = _settings(*options)
    assert (found.graph_mode, found.largest_graph) == (mode, largest)


def test_a_command_may_come_with_its_program_or_without() -> None:
    """Containers are started with `vllm serve`, the module with its options only."""
    machine = machine_of(card_named("rtx-4090"), QWEN_7B_AWQ, "0.33.0")
    for argv in (("vllm", "serve", "org/m"), ("/x/vllm", "serve", "org/m"), ("org/m",),
                 ("--model", "org/m"), ("python", "-m", "vllm.entrypoints.openai.api_server",
                                        "--model", "org/m")):  # fmt: skip
        assert settings_from(argv, {}, machine).model == "org/m"


def test_a_release_that_is_none_is_refused() -> None:
    """The message names the field."""
    for text in ("latest", "0.5.0", "1.0.0"):
        with pytest.raises(SpecError, match=r"engine\.release"):
            release_named(text)


def test_the_table_of_options_has_no_negated_names() -> None:
    """`no-` forms are derived."""
    assert OPTIONS
    assert not any(name.startswith("no-") for name in OPTIONS)
