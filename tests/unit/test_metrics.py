"""Every metric is declared once and wholly."""

import pytest

from autotune import metrics
from autotune.errors import SpecError
from autotune.metrics import METRICS, Direction, Unit, metric_named

SUFFIX = {
    Unit.NS: "_ns",
    Unit.BYTES: "_bytes",
    Unit.TOKENS: "_tokens",
    Unit.TOKENS_PER_S: "_tokens_per_s",
    Unit.REQUESTS_PER_S: "_per_s",
    Unit.RATIO: "_ratio",
    Unit.COUNT: "_count",
    Unit.TOKENS_PER_GIB: "_per_gib",
    Unit.JOULES_PER_TOKEN: "_token",
    Unit.WATTS: "_w",
}


def test_no_tag_is_declared_twice() -> None:
    """A second declaration would replace the first without a word."""
    assert len(METRICS) == len(metrics._DECLARED) > 30


@pytest.mark.parametrize("tag", METRICS)
def test_a_tag_ends_in_its_unit(tag: str) -> None:
    """A reader of a raw record knows what the number is."""
    assert tag.endswith(SUFFIX[METRICS[tag].unit])


@pytest.mark.parametrize("tag", METRICS)
def test_a_metric_says_how_it_comes_about(tag: str) -> None:
    """Title, probe, formula and source are there for the generated page."""
    metric = METRICS[tag]
    assert all((metric.title, metric.probe, metric.formula, metric.source))


def test_durations_are_better_low_and_rates_high() -> None:
    """Directions follow from units where the unit leaves no choice."""
    wanted = {
        Unit.NS: Direction.LOWER,
        Unit.TOKENS_PER_S: Direction.HIGHER,
        Unit.REQUESTS_PER_S: Direction.HIGHER,
    }
    wrong = {m.tag for m in METRICS.values() if m.direction is not wanted.get(m.unit, m.direction)}
    assert wrong == set()


def test_every_test_of_the_plan_has_a_metric() -> None:
    """The six tests and the correctness gate all give something."""
    probes = {metric.probe for metric in METRICS.values()}
    plan = {"startup", "ttft", "throughput", "long_context", "prefix_cache", "memory"}
    assert plan | {"correctness"} <= probes


def test_an_unknown_metric_is_named() -> None:
    """The message holds the tag, the hint where to look."""
    with pytest.raises(SpecError, match="'speed'") as caught:
        metric_named("speed")
    assert "autotune metrics" in caught.value.hint
