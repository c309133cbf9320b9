"""What a configuration makes worse beside its objectives, and what must not be compared."""

import math

import pytest

from autotune.analysis.costs import Costs, is_felt, unlike
from autotune.metrics import METRICS, metric_named
from autotune.records import Configuration, TrialKind, TrialRecord
from tests.support.records import record

DEFAULT = Configuration()
OTHER = Configuration.of({"a": 1})


def trial(number: int, configuration: Configuration = DEFAULT, **metrics: float) -> TrialRecord:
    """A feasible trial with some metrics."""
    return record(number, kind=TrialKind.SEARCH, config=configuration, metrics=dict(metrics))


def test_the_penalty_is_a_fifth_of_the_logarithm_beyond_the_noise() -> None:
    """Twice the TTFT under load, three trials a side of 3% noise: ln 2 less 2 * 0.03 * sqrt(2/3).

    The repeats are equal, so the pooled noise is what is assumed: 2 * 0.03^2 / (2 + 4), its root.
    """
    reference = [trial(i, ttft_loaded_p50_ns=1e9) for i in range(3)]
    slower = [trial(3 + i, OTHER, ttft_loaded_p50_ns=2e9) for i in range(3)]
    costs = Costs(reference, [*reference, *slower])
    sd = math.sqrt(2 * 0.03**2 / 6)
    wanted = 0.2 * (math.log(2) - 2 * sd * math.sqrt(2 / 3))
    assert costs.penalty(slower) == pytest.approx(wanted)
    assert costs.ratios(slower) == {"ttft_loaded_p50_ns": pytest.approx(2.0)}


def test_metrics_of_one_probe_count_once() -> None:
    """All latencies under load double with the batch: that is one harm, not five."""
    one = {"ttft_loaded_p50_ns": 1e9}
    many = {**one, "itl_p50_ns": 1e7, "e2e_p50_ns": 1e10, "tpot_p50_ns": 1e7}

    def penalty(metrics: dict[str, float]) -> float:
        doubled = {tag: 2 * value for tag, value in metrics.items()}
        reference, slower = trial(0, **metrics), trial(1, OTHER, **doubled)
        return Costs([reference], [reference, slower]).penalty([slower])

    assert penalty(many) == pytest.approx(penalty(one))


def test_what_gets_better_and_what_moves_within_the_noise_costs_nothing() -> None:
    """Half the latency earns nothing, and 2% on one trial each is no harm."""
    reference = trial(0, itl_p50_ns=1e7, prefix_warm_ttft_ns=2e7)
    other = trial(1, OTHER, itl_p50_ns=0.5e7, prefix_warm_ttft_ns=2.04e7)
    costs = Costs([reference], [reference, other])
    assert costs.penalty([other]) == 0
    assert costs.ratios([other]) == {}


def test_objectives_are_told_and_not_counted_twice() -> None:
    """A slower objective is in the score already; that it is worse is still said."""
    reference = trial(0, output_tokens_per_s=100.0)
    slower = trial(1, OTHER, output_tokens_per_s=50.0)
    costs = Costs([reference], [reference, slower], ["output_tokens_per_s"])
    assert costs.penalty([slower]) == 0
    assert costs.ratios([slower]) == {"output_tokens_per_s": pytest.approx(0.5)}


@pytest.mark.parametrize(
    ("tag", "felt"),
    [
        ("prefix_warm_ttft_ns", True), ("max_model_len_tokens", True), ("perplexity_ratio", True),
        ("startup_ns", False), ("gpu_memory_peak_bytes", False), ("prefix_hit_ratio", False),
        ("prefill_8k_tokens_per_s", False), ("kv_usage_peak_ratio", False),
    ],
)  # fmt: skip
def test_harm_is_what_a_request_feels(tag: str, felt: bool) -> None:
    """Latency, length, quality; not memory, start-up, causes, or the same thing twice."""
    assert is_felt(metric_named(tag)) is felt


def test_a_first_start_is_not_held_against_a_later_one() -> None:
    """The third start finds its kernels compiled; the default's first one did not."""
    first = trial(0, startup_ns=100e9)
    again = trial(3, startup_ns=70e9)
    others = [trial(1, OTHER, startup_ns=100e9), trial(2, OTHER, startup_ns=70e9)]
    records = [first, *others, again]
    startup = {tag for tag, m in METRICS.items() if m.probe == "startup" and m.unit.value == "ns"}
    assert set(unlike(records, others[1], first)) == startup
    assert unlike(records, others[1], again) == ()
    assert set(unlike(records, others[0], first)) == startup  # one may find the other's kernels
    assert unlike(records, first, first) == ()
    assert unlike(records, others[0], None) == ()
