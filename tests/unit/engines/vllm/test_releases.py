"""The declared table: versions, windows, and what it says of each."""

from pathlib import Path

import pytest

from autotune.engines.vllm.releases import (
    Release,
    parameter_names,
    parse_release,
    release_table,
    same,
    table_from,
)
from autotune.errors import EngineError, SpecError
from autotune.spec.files import read_yaml

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("0.33.0", Release(0, 33, 0)),
        ("v0.9", Release(0, 9, 0)),
        ("0.32.0+cpu", Release(0, 32, 0)),
        ("0.10.1.1", Release(0, 10, 1)),
        ("0.11.1rc2.dev14+g1234567.cu129", Release(0, 11, 1)),
    ],
)
def test_a_version_string_is_read_as_its_release(text: str, release: Release) -> None:
    """Local parts, candidates and fourth numbers do not make another release."""
    assert parse_release(text) == release


def test_a_version_without_numbers_is_an_error() -> None:
    """A build from a bare checkout calls itself `dev` and cannot be placed."""
    with pytest.raises(EngineError, match="dev"):
        parse_release("dev")


def test_releases_order_by_number_and_not_by_text() -> None:
    """0.9 comes before 0.10."""
    assert parse_release("0.9.2") < parse_release("0.10.0")


def test_one_and_true_are_different_values() -> None:
    """`scheduler_steps: 1` must not pass for a boolean."""
    assert same(0.9, 0.90)
    assert not same(1, True)


@pytest.mark.parametrize("release", ["0.8.4", "0.6.6"])
def test_an_older_release_is_refused(release: str) -> None:
    """The floor is 0.8.5."""
    with pytest.raises(EngineError, match=r"older than 0\.8\.5"):
        release_table().check_supported(parse_release(release))


def test_a_newer_release_is_a_warning_and_the_newest_read_one_is_not() -> None:
    """0.34 works by the rules of 0.33 and says so."""
    assert release_table().check_supported(parse_release("0.33.0")) == ()
    (warning,) = release_table().check_supported(parse_release("0.34.0"))
    assert "newer than 0.33.0" in warning


@pytest.mark.parametrize(
    ("parameter", "release", "label"),
    [
        ("attention_backend", "0.8.5", "VLLM_ATTENTION_BACKEND"),
        ("attention_backend", "0.12.0", "VLLM_ATTENTION_BACKEND"),
        ("attention_backend", "0.13.0", "--attention-backend"),
        ("attention_backend", "0.15.1", "--attention-backend"),
        ("async_scheduling", "0.10.0", "--async-scheduling"),
        ("scheduler_steps", "0.10.0", "--num-scheduler-steps"),
        ("kv_offload_gib", "0.11.1", "--kv-offloading-size"),
        ("v1_engine", "0.10.2", "VLLM_USE_V1"),
        ("kv_cache_memory_gib", "0.10.2", "--kv-cache-memory-bytes"),
        ("performance_mode", "0.17.0", "--performance-mode"),
        ("stream_interval", "0.11.1", "--stream-interval"),
    ],
)
def test_a_parameter_is_spelt_as_its_release_spells_it(
    parameter: str, release: str, label: str
) -> None:
    """The first release that has it, and the one at which the spelling changed."""
    spelling = release_table().parameters[parameter].spelling(parse_release(release), "cuda")
    assert spelling is not None
    assert spelling.label == label


@pytest.mark.parametrize(
    ("parameter", "release", "words"),
    [
        ("async_scheduling", "0.9.2", "came with 0.10.0"),
        ("scheduler_steps", "0.10.1", "last in 0.10.0"),
        ("scheduler_steps", "0.33.0", "V1 engine does not need it"),
        ("kv_offload_gib", "0.11.0", "came with 0.11.1"),
        ("v1_engine", "0.11.1", "V1 is the only engine"),
        ("performance_mode", "0.16.0", "came with 0.17.0"),
    ],
)
def test_an_absent_parameter_has_a_reason(parameter: str, release: str, words: str) -> None:
    """Too early says when it came, too late says when it went and why."""
    facts = release_table().parameters[parameter]
    assert facts.spelling(parse_release(release), "cuda") is None
    assert words in facts.absence(parse_release(release), "cuda")


def test_a_setting_of_another_platform_has_its_own_reason() -> None:
    """The CPU has no offload, a GPU no CPU KV cache."""
    parameters = release_table().parameters
    release = parse_release("0.32.0")
    assert "CUDA" in parameters["kv_offload_gib"].absence(release, "cpu")
    assert "CPU" in parameters["cpu_kv_cache_gib"].absence(release, "cuda")
    assert parameters["cpu_kv_cache_gib"].spelling(release, "cpu") is not None


@pytest.mark.parametrize(
    ("release", "arguments"),
    [
        ("0.14.0", "--kv-offloading-backend native --disable-hybrid-kv-cache-manager"),
        ("0.20.2", "--kv-offloading-backend native --disable-hybrid-kv-cache-manager"),
        ("0.21.0", "--kv-offloading-backend native"),
    ],
)
def test_offload_brings_the_arguments_that_its_release_needs(release: str, arguments: str) -> None:
    """The hybrid KV cache manager must be off from 0.14.0 to 0.20.2 and may stay on later."""
    spelling = release_table().parameters["kv_offload_gib"].spelling(parse_release(release), "cuda")
    assert spelling is not None
    assert spelling.also == tuple(arguments.split())


@pytest.mark.parametrize(
    ("parameter", "value", "release", "words"),
    [
        ("kv_offload_gib", 8, "0.11.1", "num_cpu_blocks"),
        ("kv_offload_gib", 8, "0.13.0", "num_cpu_blocks"),
        ("async_scheduling", True, "0.10.2", "preemption"),
        ("async_scheduling", True, "0.11.0", "preemption"),
        ("chunked_prefill", False, "0.11.0", "whatever is asked"),
        ("cpu_offload_gib", 4, "0.22.0", "never installs the offloader"),
        ("cpu_offload_gib", 4, "0.27.1", "never installs the offloader"),
    ],
)
def test_a_setting_that_is_there_and_of_no_use_is_a_defect(
    parameter: str, value: float, release: str, words: str
) -> None:
    """Present in the help text is not the same as working."""
    defect = release_table().parameters[parameter].defect(value, parse_release(release), "cuda")
    assert defect is not None
    assert words in defect.reason


@pytest.mark.parametrize(
    ("parameter", "value", "release"),
    [
        ("kv_offload_gib", 8, "0.14.0"),
        ("async_scheduling", True, "0.10.0"),
        ("async_scheduling", True, "0.11.1"),
        ("async_scheduling", False, "0.10.2"),
        ("chunked_prefill", False, "0.11.1"),
        ("cpu_offload_gib", 4, "0.21.0"),
        ("cpu_offload_gib", 4, "0.28.0"),
        ("cpu_offload_gib", 0, "0.22.0"),
    ],
)
def test_a_defect_ends_where_its_range_ends(parameter: str, value: float, release: str) -> None:
    """The release before, the release after, and the harmless value have none."""
    facts = release_table().parameters[parameter]
    assert facts.defect(value, parse_release(release), "cuda") is None


def test_every_defect_and_parameter_names_its_source() -> None:
    """A fact without a source cannot be checked again."""
    for name, facts in release_table().parameters.items():
        assert facts.source, name
        assert all(d.source and d.reason for d in facts.defects), name


def test_every_parameter_of_the_declared_spaces_and_matrix_is_known() -> None:
    """No shipped file uses a name that the table lacks."""
    known = set(parameter_names())
    for path in sorted((ROOT / "search_spaces").glob("*.yaml")):
        assert set(read_yaml(path)["parameters"]) <= known, path
    for cell in read_yaml(ROOT / "studies" / "matrix.yaml")["configurations"].values():
        assert set(cell["configuration"]) <= known


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ({"flag": "a", "env": "B"}, "one of flag"),
        ({"json": "a"}, "with its key"),
        ({"flag": "a", "first": "0.14"}, "not a release"),
        ({"flag": "a", "since": "0.14.0"}, "unknown key"),
    ],
)
def test_a_mistake_in_the_table_names_its_field(spelling: dict[str, str], words: str) -> None:
    """The table is checked as it is read."""
    raw = {
        "supported": {"first": "0.8.5", "last": "0.33.0"},
        "parameters": {"x": {"title": "x", "kind": "number", "source": "s",
                             "spellings": [spelling]}},
    }  # fmt: skip
    with pytest.raises(SpecError, match=words) as caught:
        table_from(raw, where="table.yaml")
    assert "parameters -> x -> spellings" in caught.value.message
