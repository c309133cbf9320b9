"""Figures out of a timeline."""

import pytest

from autotune.seams.telemetry import Sample
from autotune.telemetry.summary import growth, mean, peak, steady

VALUES = [5.0, None, 1.0, 9.0, 2.0, None]
TIMELINE = [Sample(at_ns=10 * i, values={"x": value}) for i, value in enumerate(VALUES)]


def test_over_everything() -> None:
    """Peak, median and mean of what was read; what was not read does not count as 0."""
    assert peak(TIMELINE, "x") == 9.0
    assert steady(TIMELINE, "x") == 3.5
    assert mean(TIMELINE, "x") == 4.25


def test_over_a_stretch() -> None:
    """Both ends belong to the stretch."""
    assert peak(TIMELINE, "x", 0, 20) == 5.0
    assert steady(TIMELINE, "x", 20, 40) == 2.0
    assert mean(TIMELINE, "x", start_ns=30) == 5.5


@pytest.mark.parametrize("figure", [peak, steady, mean, growth])
def test_nothing_read_is_none(figure: object) -> None:
    """No reading gives None, whatever the reason."""
    assert callable(figure)
    assert figure([], "x") is None
    assert figure(TIMELINE, "y") is None
    assert figure(TIMELINE, "x", 10, 10) is None


def test_growth_of_a_counter() -> None:
    """From the first reading to the last; one reading has no growth."""
    counter = [
        Sample(at_ns=i, values={"j": value}) for i, value in enumerate([None, 100.0, 150.0, 175.0])
    ]
    assert growth(counter, "j") == 75.0
    assert growth(counter, "j", 1, 2) == 50.0
    assert growth(counter, "j", 3, 9) is None


def test_a_counter_that_was_reset() -> None:
    """A counter that went back tells nothing."""
    counter = [Sample(at_ns=i, values={"j": value}) for i, value in enumerate([100.0, 3.0])]
    assert growth(counter, "j") is None
