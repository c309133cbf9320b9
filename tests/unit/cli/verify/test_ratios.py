"""Ratios of repeated measurements."""

import math

import pytest

from autotune.cli.verify.ratios import Ratio, Spread


def test_a_ratio_of_geometric_means() -> None:
    """2 and 8 over 2: their mean is 4."""
    found = Spread(variance=0.0, freedom=2).ratio(
        ([math.log(2), math.log(8)],), ([math.log(2)],), level=0.05
    )
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.low == found.high == found.value


def test_nothing_to_compare_is_no_ratio() -> None:
    """An empty side is not measured."""
    assert Spread(variance=1.0, freedom=2).ratio(([],), ([0.0],), level=0.05) is None


def test_the_interval_is_students() -> None:
    """97.5% of t with 2 degrees of freedom is 4.3027 (printed table); two single trials."""
    found = Spread(variance=0.01**2, freedom=2).ratio(([0.0],), ([0.0],), level=0.05)
    assert found is not None
    assert math.log(found.high) == pytest.approx(4.3027 * 0.01 * math.sqrt(2), rel=1e-4)
    assert math.log(found.low) == pytest.approx(-math.log(found.high))


def test_repeats_are_pooled_by_their_degrees_of_freedom() -> None:
    """Two of a known variance of 4, one of a pair whose variance is 2 x 1^2 = 2."""
    spread = Spread(variance=4.0, freedom=2).with_repeats(([1.0, 3.0], [5.0], []))
    assert spread == Spread(variance=pytest.approx((2 * 4 + 2) / 3), freedom=3)


@pytest.mark.parametrize(
    ("low", "high", "tells"),
    [(0.9, 1.1, False), (1.01, 1.1, True), (0.8, 0.99, True), (1.0, 1.0, False)],
)
def test_a_ratio_tells_something_once_its_interval_leaves_1_out(
    low: float, high: float, tells: bool
) -> None:
    """Above or below."""
    assert Ratio(value=(low + high) / 2, low=low, high=high).tells is tells
