"""The log's spelling in each release, read from the packages, against the parser."""

import pytest

from autotune.engines.vllm.logs import kv_cache_tokens, ledger, milestones
from tests.support.vllm_texts import filled, golden, releases

RELEASES = releases("vllm_logs")
ABSENT = {
    # Lines that a release does not have; everything else must be there.
    "graphs_estimate": {r for r in RELEASES if tuple(map(int, r.split("."))) < (0, 18)},
    "kv_memory": {"0.8.5"},
    "kv_reserved": {"0.8.5", "0.9.2", "0.10.0"},
    "ledger": {"0.8.5", "0.9.2", "0.10.0"},
    "async": {r for r in RELEASES if not (0, 14) <= tuple(map(int, r.split("."))) < (0, 28)},
    "backend": {r for r in RELEASES if tuple(map(int, r.split("."))) < (0, 12)},
    "backend_asked": {r for r in RELEASES if tuple(map(int, r.split("."))) < (0, 11, 1)},
    "backend_v1": {r for r in RELEASES if tuple(map(int, r.split("."))) > (0, 11, 0)},
}


def templates(release: str, key: str) -> list[str]:
    """Templates of a line; fails where a release that should have it lost it."""
    found: list[str] = golden("vllm_logs", release)[key]
    expected = release not in ABSENT.get(key, ())
    assert bool(found) or not expected, f"{release} no longer prints {key}"
    return found


def tagged(text: str) -> str:
    """As a terminal shows it: a coloured process tag, the logger's prefix."""
    tag = "\x1b[1;36m(EngineCore_DP0 pid=7)\x1b[0;0m"
    return f"{tag} INFO 09-23 18:12:21 [x.py:1] {text}\n"


def test_there_are_goldens_of_the_releases_of_the_table() -> None:
    """The twelve releases whose flags are known, and the two in between whose texts changed."""
    assert len(RELEASES) >= 14
    assert {"0.8.5", "0.33.0"} <= set(RELEASES)


KEYS = ["engine", "weights_time", "model", "compile", "graphs", "graphs_estimate", "kv_memory",
        "kv_reserved", "kv_tokens", "ledger", "batch", "async", "backend", "backend_asked",
        "backend_v1"]  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", KEYS)
def test_each_line_is_there_where_it_is_expected(release: str, key: str) -> None:
    """A line that a release renamed would leave its key empty."""
    templates(release, key)


@pytest.mark.parametrize("release", RELEASES)
def test_model_loading_gives_weights_and_time(release: str) -> None:
    """Both model runners' lines, with four digits or as many as there are."""
    for template in templates(release, "model"):
        log = tagged(filled(template, "5.2035", "7.5"))
        assert ledger(log).weights_gib == pytest.approx(5.2035)
        assert milestones(log)["startup_weights_ns"] == 7_500_000_000


@pytest.mark.parametrize("release", RELEASES)
def test_weights_time_counts_where_the_model_line_is_missing(release: str) -> None:
    """The loader's own line."""
    for template in templates(release, "weights_time"):
        log = tagged(filled(template, "3.25"))
        assert milestones(log) == {"startup_weights_ns": 3_250_000_000}


@pytest.mark.parametrize("release", RELEASES)
def test_compile_time_is_read(release: str) -> None:
    """`takes` became `took`, and later got a prefix."""
    for template in templates(release, "compile"):
        if " and initial profiling" in template:
            continue  # another figure: compilation and the first run together
        prefixed = template.startswith("%s")
        log = tagged(filled(template, *(["encoder: "] if prefixed else []), "19.79"))
        assert milestones(log)["startup_compile_ns"] == 19_790_000_000


@pytest.mark.parametrize("release", RELEASES)
def test_graph_capture_gives_time_and_memory(release: str) -> None:
    """Whole seconds, GiB with two digits."""
    for template in templates(release, "graphs"):
        log = tagged(filled(template, "21", "0.45"))
        assert milestones(log)["startup_graphs_ns"] == 21_000_000_000
        assert ledger(log).graphs_gib == pytest.approx(0.45)


@pytest.mark.parametrize("release", RELEASES)
def test_kv_memory_and_tokens_are_read(release: str) -> None:
    """Thousands commas, and the device's name from 0.30.0 on."""
    for template in templates(release, "kv_memory"):
        assert ledger(tagged(filled(template, "14.43"))).kv_cache_gib == pytest.approx(14.43)
    for template in templates(release, "kv_tokens"):
        values = ["CPU"] if template.startswith("%s") else []
        log = tagged(filled(template, *values, "2,097,152", "8,192", "256"))
        assert kv_cache_tokens(log) == 2_097_152


@pytest.mark.parametrize("release", RELEASES)
def test_reserved_kv_memory_is_read(release: str) -> None:
    """With --kv-cache-memory-bytes nothing is profiled, and another line tells."""
    for template in templates(release, "kv_reserved"):
        log = tagged(filled(template, "70.5", "8.0"))
        assert ledger(log).kv_cache_gib == pytest.approx(8.0)


@pytest.mark.parametrize("release", RELEASES)
def test_the_ledger_line_is_taken_apart(release: str) -> None:
    """Weights, activations, non-torch and graphs; from 0.28.0 two of them are one figure."""
    for template in templates(release, "ledger"):
        merged = "consumed memory" in template
        log = tagged("Model loading took 5.2 GiB memory and 1.0 seconds") + tagged(
            filled(
                template,
                "0",
                model_memory_usage="5.2",
                total_consumed="5.5",
                peak_activation_memory="1.4",
                non_torch_memory="0.3",
                cuda_graph_memory_bytes="0.4",
                available_kv_cache_memory="4294967296" if "bytes." in template else "4.0",
            )
        )
        told = ledger(log)
        assert told.weights_gib == pytest.approx(5.2), merged
        assert told.non_torch_gib == pytest.approx(0.3)
        assert told.activation_gib == pytest.approx(1.4)
        assert told.graphs_gib == pytest.approx(0.4)
        assert told.kv_cache_gib == pytest.approx(4.0)
