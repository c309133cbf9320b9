"""The success criteria as a verdict each."""

import pytest

from autotune.analysis.criteria import Criterion, Verdict, success_criteria
from autotune.records import Configuration, Failure, FailureKind, TrialKind, TrialRecord
from autotune.spec.study import study_from
from tests.support.records import record

GIB = 1024**3
SPEC = study_from({"limits": [{"metric": "ttft_8k_ns", "at_most_s": 2}]}, where="test")
GOOD = {
    "output_tokens_per_s": 1600.0,
    "ttft_8k_ns": 1.5e9,
    "failed_requests_count": 0.0,
    "gpu_memory_peak_bytes": 10.5 * GIB,
    "host_memory_peak_bytes": 50.0 * GIB,
}
CONFIGURATION = Configuration.of({"a": 1})
BASELINE = record(0, kind=TrialKind.BASELINE, config=Configuration(),
                  metrics={"output_tokens_per_s": 1000.0})  # fmt: skip


def judged(
    metrics: dict[str, float | None], *others: TrialRecord, baseline: TrialRecord | None = BASELINE
) -> dict[str, Criterion]:
    """Criteria by name on a 12 GiB card beside 94 GiB of memory."""
    chosen = record(1, config=CONFIGURATION, metrics=metrics)
    criteria = success_criteria(
        [BASELINE, chosen, *others], SPEC, chosen, baseline,
        gpu_memory_bytes=12 * GIB, host_memory_bytes=94 * GIB,
    )  # fmt: skip
    return {criterion.name: criterion for criterion in criteria}


def test_all_are_met_with_their_figures() -> None:
    """A good trial meets each criterion, and each names value and bound."""
    criteria = judged(GOOD)
    assert {c.verdict for c in criteria.values()} == {Verdict.MET}
    assert criteria["throughput"].value == pytest.approx(1.6)
    assert criteria["gpu_memory"].bound == 11 * GIB
    assert criteria["host_memory"].bound == 85 * GIB
    assert criteria["ttft_8k"].bound == 2e9


def test_a_proved_configuration_is_judged_by_its_proofs() -> None:
    """Their geometric mean: neither the search's own figure nor the last proof alone."""
    proofs = [
        record(2 + i, kind=TrialKind.FINALIST, config=CONFIGURATION,
               metrics={**GOOD, "output_tokens_per_s": figure, "ttft_8k_ns": 1e9})
        for i, figure in enumerate((1000.0, 2560.0))
    ]  # fmt: skip
    criteria = judged({**GOOD, "output_tokens_per_s": 9000.0}, *proofs)
    assert criteria["throughput"].value == pytest.approx(1.6)
    assert criteria["ttft_8k"].value == pytest.approx(1e9)
    # Stability is of every trial, the front's n of the proofs: both numbers are told.
    assert (
        criteria["stability"].text == "3 of 3 trials of it ran to their end, 2 of them to prove it"
    )
    assert judged(GOOD)["stability"].text == "its one trial ran to its end"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("throughput", {"output_tokens_per_s": 1500.0}),
        ("ttft_8k", {"ttft_8k_ns": 2.1e9}),
        ("gpu_memory", {"gpu_memory_peak_bytes": 11.2 * GIB}),
        ("host_memory", {"host_memory_peak_bytes": 86.0 * GIB}),
        ("stability", {"failed_requests_count": 3.0}),
    ],
)
def test_each_can_be_missed_alone(name: str, change: dict[str, float]) -> None:
    """One figure over its bound misses its own criterion; 1.5 times exactly is not more."""
    criteria = judged({**GOOD, **change})
    assert {n for n, c in criteria.items() if c.verdict is Verdict.NOT_MET} == {name}


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("throughput", "output_tokens_per_s"),
        ("ttft_8k", "ttft_8k_ns"),
        ("gpu_memory", "gpu_memory_peak_bytes"),
        ("host_memory", "host_memory_peak_bytes"),
        ("stability", "failed_requests_count"),
    ],
)
def test_what_was_not_measured_is_not_judged(name: str, metric: str) -> None:
    """None is neither met nor missed."""
    assert judged({**GOOD, metric: None})[name].verdict is Verdict.NOT_MEASURED


def test_without_a_baseline_there_is_no_gain() -> None:
    """No baseline, no verdict on throughput."""
    assert judged(GOOD, baseline=None)["throughput"].verdict is Verdict.NOT_MEASURED


def test_a_crash_of_the_same_configuration_breaks_stability() -> None:
    """A trial of the recommended configuration that died under load counts."""
    failure = Failure(kind=FailureKind.DIED_UNDER_LOAD, phase="probe:throughput", message="died")
    crashed = record(2, config=CONFIGURATION, failure=failure)
    criterion = judged(GOOD, crashed)["stability"]
    assert criterion.verdict is Verdict.NOT_MET
    assert "1 of 2" in criterion.text


def test_an_interrupted_trial_does_not_break_stability() -> None:
    """Ctrl-C is not the configuration's fault."""
    failure = Failure(kind=FailureKind.INTERRUPTED, phase="starting", message="Ctrl-C")
    cut = record(2, config=CONFIGURATION, failure=failure)
    assert judged(GOOD, cut)["stability"].verdict is Verdict.MET
