"""What a configuration makes worse beside its objectives, and what must not be compared."""

import math

import pytest

from autotune.analysis.costs import Costs, is_felt, told, unlike
from autotune.metrics import METRICS, metric_named
from autotune.records import Configuration, TrialKind, TrialRecord
from tests.support.records import record

DEFAULT = Configuration()
OTHER = Configuration.of({"a": 1})


def trial(number: int, configuration: Configuration = DEFAULT, **metrics: float) -> TrialRecord:
    """A feasible trial with some metrics."""
    return record(number, kind=TrialKind.SEARCH, config=configuration, metrics=dict(metrics))


def test_the_penalty_is_a_fifth_of_the_logarithm_beyond_the_noise() -> None:
    """1.4 times the TTFT under load, three trials a side of 3% noise: ln 1.4 less what is luck.

    That is 2 * sd * sqrt(2 / 3).

    The repeats are equal, so the pooled noise is what is assumed: 2 * 0.03^2 / (2 + 4), its root.
    """
    reference = [trial(i, ttft_loaded_p50_ns=1e9) for i in range(3)]
    slower = [trial(3 + i, OTHER, ttft_loaded_p50_ns=1.4e9) for i in range(3)]
    costs = Costs(reference, [*reference, *slower])
    sd = math.sqrt(2 * 0.03**2 / 6)
    wanted = 0.2 * (math.log(1.4) - 2 * sd * math.sqrt(2 / 3))
    assert costs.penalty(slower) == pytest.approx(wanted)
    assert costs.ratios(slower) == {"ttft_loaded_p50_ns": pytest.approx(1.4)}
    assert costs.large(slower) == {}


def test_over_the_large_factor_it_counts_in_full_and_each_probe_once() -> None:
    """Twice the TTFT under load and a third of the goodput are one load; documents are another."""
    figures = {"ttft_loaded_p50_ns": 1e9, "goodput_requests_per_s": 3.0, "requests_per_s": 3.0}
    reference = trial(0, **figures, revisit_total_tokens_per_s=4e4)
    harmed = {"ttft_loaded_p50_ns": 2e9, "goodput_requests_per_s": 1.0, "requests_per_s": 3.0}
    other = trial(1, OTHER, **harmed, revisit_total_tokens_per_s=1e4)
    penalty = Costs([reference], [reference, other]).penalty([other])
    assert penalty == pytest.approx(math.log(3) + math.log(4))


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
        ("goodput_requests_per_s", True),
        ("prefix_warm_ttft_ns", True), ("max_model_len_tokens", True), ("perplexity_ratio", True),
        ("startup_ns", False), ("gpu_memory_peak_bytes", False), ("prefix_hit_ratio", False),
        ("prefill_8k_tokens_per_s", False), ("kv_usage_peak_ratio", False),
    ],
)  # fmt: skip
def test_harm_is_what_a_request_feels(tag: str, felt: bool) -> None:
    """Latency, length, quality; not memory, start-up, causes, or the same thing twice."""
    assert is_felt(metric_named(tag)) is felt


def goodput(number: int, kept: float, every: float = 5.0, **asked: int) -> TrialRecord:
    """A trial of which so many requests a second kept the SLO."""
    return trial(number, Configuration.of(asked), goodput_requests_per_s=kept, requests_per_s=every)


def test_goodput_is_compared_and_one_that_fell_to_nothing_is_the_largest_loss() -> None:
    """A fifth of it is left, or none at all."""
    reference = goodput(0, 1.0)
    for kept, ratio in ((0.2, 0.2), (0.0, 0.0)):
        other = goodput(1, kept, a=1)
        costs = Costs([reference], [reference, other])
        assert costs.large([other]) == {"goodput_requests_per_s": pytest.approx(ratio)}


def test_a_handful_of_requests_that_kept_the_slo_is_no_goodput_to_lose() -> None:
    """Of five requests a second one in a hundred: what is left of so few is luck."""
    reference, other = goodput(0, 0.05), goodput(1, 0.01, a=1)
    assert Costs([reference], [reference, other]).ratios([other]) == {}


def test_the_largest_harms_are_named_first_whatever_their_kind() -> None:
    """Five beyond a factor of 1.5 are all named; of the rest there is only the number."""
    reference = trial(
        0, ttft_32k_ns=1e9, itl_single_ns=1e7, prefix_warm_ttft_ns=1e8, ttft_loaded_p50_ns=1e9,
        revisit_total_tokens_per_s=1e5, decode_8k_tokens_per_s=80.0, e2e_p50_ns=1e9,
    )  # fmt: skip
    other = trial(
        1, OTHER, ttft_32k_ns=1.2e9, itl_single_ns=1.13e7, prefix_warm_ttft_ns=60e8,
        ttft_loaded_p50_ns=3.5e9, revisit_total_tokens_per_s=3e3, decode_8k_tokens_per_s=40.0,
        e2e_p50_ns=1.6e9,
    )  # fmt: skip
    ratios = Costs([reference], [reference, other]).ratios([other])
    assert told(ratios) == (
        "TTFT, repeated prefix x60.00, Re-visit throughput -97.0%, TTFT under load x3.50, "
        "Decode at 8K -50.0%, Request latency under load +60.0% and 2 more"
    )


def test_of_small_harms_three_are_named() -> None:
    """And none is hidden: the others are counted."""
    assert told({"ttft_32k_ns": 1.2, "ttft_16k_ns": 1.15, "itl_single_ns": 1.1}).endswith("+10.0%")
    assert told({"ttft_32k_ns": 1.2, "ttft_16k_ns": 1.15}, most=1) == (
        "TTFT at 32K +20.0% and 1 more"
    )


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
