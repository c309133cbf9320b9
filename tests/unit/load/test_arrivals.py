"""Arrival processes against their textbook moments."""

import numpy as np
import pytest

from autotune.errors import SpecError
from autotune.load.arrivals import arrival_offsets_ns


def gaps_s(arrival: str, burstiness: float = 1.0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Twenty thousand gaps at 50 requests/s."""
    offsets = arrival_offsets_ns(
        arrival, rate_requests_per_s=50.0, count=20_001, seed=3, burstiness=burstiness
    )
    return np.diff(np.array(offsets)) / 1e9


def test_constant_gaps_are_all_the_same() -> None:
    """A constant arrival at 50 requests/s has gaps of 20 ms."""
    offsets = arrival_offsets_ns("constant", rate_requests_per_s=50.0, count=4, seed=0)

    assert offsets == (0, 20_000_000, 40_000_000, 60_000_000)


def test_poisson_gaps_have_mean_and_deviation_of_an_exponential() -> None:
    """Gaps of a Poisson process have mean 1/rate and a coefficient of variation of 1."""
    gaps = gaps_s("poisson")

    assert gaps.mean() == pytest.approx(0.02, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize(("burstiness", "variation"), [(0.25, 2.0), (1.0, 1.0), (4.0, 0.5)])
def test_gamma_gaps_vary_by_the_burstiness(burstiness: float, variation: float) -> None:
    """A gamma of shape k has a coefficient of variation of 1/sqrt(k), and the same mean rate."""
    gaps = gaps_s("gamma", burstiness)

    assert gaps.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.05)


def test_the_same_seed_gives_the_same_offsets() -> None:
    """Arrivals are a function of their seed."""
    first, again, other = (
        arrival_offsets_ns("poisson", rate_requests_per_s=5.0, count=50, seed=seed)
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_no_requests_have_no_offsets() -> None:
    """Nothing to send is no error."""
    assert arrival_offsets_ns("poisson", rate_requests_per_s=5.0, count=0, seed=1) == ()


@pytest.mark.parametrize(("arrival", "rate"), [("poisson", 0.0), ("poisson", -1.0), ("late", 1.0)])
def test_what_is_no_arrival_is_refused(arrival: str, rate: float) -> None:
    """A rate must be positive and a process known."""
    with pytest.raises(SpecError):
        arrival_offsets_ns(arrival, rate_requests_per_s=rate, count=3, seed=0)
