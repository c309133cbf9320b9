"""The metric families of each release, read from the packages, against the declared names."""

import pytest

from autotune.engines.vllm.releases import Release, parse_release
from autotune.engines.vllm.server_metrics import WireName, gauges, metric_names
from tests.support.vllm_texts import golden, releases

RELEASES = releases("vllm_metrics")
NAMES = [
    pytest.param(release, key, wire, id=f"{release}-{wire.name}")
    for release in RELEASES
    for key, figure in metric_names().figures.items()
    for wire in figure.names
]


def families(release: str) -> set[str]:
    """Families of a release, as its sources name them."""
    found: list[str] = golden("vllm_metrics", release)["families"]
    return set(found)


def has(release: str, wire: str) -> bool:
    """Whether a sample's name is a family's: counters may be named without `_total`."""
    return wire in families(release) or wire.removesuffix("_total") in families(release)


def covers(wire: WireName, release: Release) -> bool:
    """Whether a name is declared for a release."""
    first, last = wire.first, wire.last
    return (first is None or release >= parse_release(first)) and (
        last is None or release <= parse_release(last)
    )


def test_there_are_families_of_every_release() -> None:
    """Fourteen, a dozen families each at least."""
    assert len(RELEASES) >= 14
    assert all(len(families(release)) >= 12 for release in RELEASES)


@pytest.mark.parametrize(("release", "key", "wire"), NAMES)
def test_a_declared_name_is_there_exactly_where_it_is_declared(
    release: str, key: str, wire: WireName
) -> None:
    """A renamed metric breaks this; so does a window that is too narrow."""
    assert has(release, wire.name) == covers(wire, parse_release(release)), key


@pytest.mark.parametrize("release", RELEASES)
def test_each_figure_has_a_name_in_each_release(release: str) -> None:
    """Except the offload's, which came with the connectors' metrics in 0.11.1."""
    missing = {
        key
        for key, figure in metric_names().figures.items()
        if not any(has(release, wire.name) for wire in figure.names)
    }
    late = parse_release(release) >= (0, 11, 1)
    assert missing == (set() if late else {"offload_queries_tokens", "offload_hits_tokens"})


@pytest.mark.parametrize("release", RELEASES)
def test_the_figures_are_read_under_a_release_s_names(release: str) -> None:
    """An exposition of all its families, counters with `_total` as prometheus_client writes."""
    counters = {w.name.removesuffix("_total") for f in metric_names().figures.values()
                for w in f.names if w.name.endswith("_total")}  # fmt: skip
    bare = {name.removesuffix("_total") for name in families(release)}  # either engine's spelling
    text = "".join(f"{n}_total 5\n" if n in counters else f"{n} 0.5\n" for n in sorted(bare))
    read = gauges(text)
    assert read["kv_usage_ratio"] == 0.5
    assert read["preemptions_count"] == 5
    assert read["prefix_hits_tokens"] == 5
    assert (read["offload_hits_tokens"] is None) == (parse_release(release) < (0, 11, 1))


@pytest.mark.parametrize("release", RELEASES)
def test_the_cache_configuration_is_a_gauge_of_every_release(release: str) -> None:
    """`read_back` relies on its labels."""
    assert metric_names().cache_config in families(release)
