"""The search for the highest load within an SLO."""

import numpy as np
import pytest

from autotune.probes.capacity import CapacityProbe, RateSearch, probability_sustained
from autotune.records import ProbeResult, ProbeStatus
from autotune.spec.workload import Workload
from tests.unit.probes.serving import SMALL, ask


def attainment(rate: float, capacity: float) -> float:
    """A server that keeps the SLO for 90% of the requests exactly at its capacity."""
    return float(np.clip(0.9 + 0.8 * (1 - rate / capacity), 0, 1))


@pytest.mark.parametrize("capacity", [2.0, 7.0, 20.0])
def test_the_search_finds_a_known_capacity_in_seven_noisy_looks(capacity: float) -> None:
    """Over 100 runs with 160 requests per look, the median error is below 10%."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(100):
        search = RateSearch(low=1.0, high=30.0)
        for _ in range(7):
            rate = search.next_rate()
            search.observe(rate, int(rng.binomial(160, attainment(rate, capacity))), 160)
        found.append(search.sustained() or 0.0)

    assert np.median(np.abs(np.array(found) / capacity - 1)) < 0.10


@pytest.mark.parametrize("capacity", [2.0, 7.0, 20.0])
def test_the_interval_holds_the_capacity_as_often_as_it_says(capacity: float) -> None:
    """In at least 93% of 200 runs, which is what 95% leaves to chance; it is no wide one."""
    rng = np.random.default_rng(6)
    intervals = []
    for _ in range(200):
        search = RateSearch(low=1.0, high=30.0)
        for _ in range(7):
            rate = search.next_rate()
            search.observe(rate, int(rng.binomial(160, attainment(rate, capacity))), 160)
        intervals.append(search.interval())

    assert sum(low <= capacity <= high for low, high in intervals) >= 186
    assert np.median([high / low for low, high in intervals]) < 1.5


def test_a_look_that_settles_nothing_moves_little() -> None:
    """Right at the target the evidence is even, and far from it never complete."""
    assert probability_sustained(144, 160) == pytest.approx(0.5, abs=0.1)
    assert probability_sustained(160, 160) == pytest.approx(0.98)
    assert probability_sustained(10, 160) == pytest.approx(0.02)


def test_no_rate_that_keeps_the_slo_is_no_capacity() -> None:
    """An SLO that nothing keeps gives None, not the lowest rate asked."""
    workload = SMALL.model_copy(update={"slo_ttft_s": 0.001})
    result, _ = ask(CapacityProbe(), workload=workload)

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["capacity_requests_per_s"] is None
    assert "no rate" in result.notes[-1]


def test_the_bound_is_taken_from_the_throughput_probe() -> None:
    """Where test 3 has run, its rate is where the search begins; no load is sent for it."""
    throughput = ProbeResult(
        probe="throughput", status=ProbeStatus.MEASURED, metrics={"requests_per_s": 40.0}
    )
    result, server = ask(CapacityProbe(), finished=[throughput], workload=Workload(requests=20))

    assert len(server.asked) == 7 * 20
    capacity = result.metrics["capacity_requests_per_s"]
    assert capacity is not None
    assert 40.0 < capacity <= 50.0
    low, high = result.intervals["capacity_requests_per_s"]
    assert low <= capacity <= high
