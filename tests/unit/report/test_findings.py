"""What a report says of a study."""

import re
from dataclasses import replace

import pytest

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.report.failures import failure_groups, failure_table, outcome_map
from autotune.report.findings import findings_of, varied_parameters
from autotune.report.quantities import readable
from autotune.report.summary import trials_of
from autotune.report.verdict import remarks, verdict
from autotune.spec.study import StudySpec
from tests.support.records import record, study_records

SPEC = StudySpec(name="sample")


def trial(number: int, seqs: int, speed: float, **more: float) -> TrialRecord:
    """A measured trial."""
    metrics = {
        "output_tokens_per_s": speed, "ttft_8k_ns": 1.5e9, "context_capacity_tokens": 60_000.0,
        "failed_requests_count": 0.0, **more,
    }  # fmt: skip
    kind = TrialKind.BASELINE if number == 0 else TrialKind.SEARCH
    return record(
        number, kind=kind, config=Configuration.of({"max_num_seqs": seqs}), metrics=metrics
    )


def test_a_gain_is_told_with_its_size_and_what_stayed_the_same() -> None:
    """Objectives beyond the noise first; the others are said to be within it."""
    first, second = verdict(findings_of(SPEC, [trial(0, 16, 1000.0), trial(1, 64, 1800.0)]))
    assert first == (
        "Serve the configuration of trial 1: output throughput 1,800 tok/s (+80.0% against the "
        "baseline); TTFT at 8K 1.50 s and context capacity 60,000 tokens are within the noise of "
        "the baseline's."
    )
    assert "cannot be told from noise here (assumed" in second


def test_what_got_worse_is_the_cost_of_what_got_better() -> None:
    """1,800 against 1,000 tokens/s is won, 1.8 s against 1.5 s is paid."""
    records = [trial(0, 16, 1000.0), trial(1, 64, 1800.0, ttft_8k_ns=1.8e9)]
    first, _ = verdict(findings_of(SPEC, records))
    assert first.startswith(
        "Serve the configuration of trial 1: output throughput 1,800 tok/s (+80.0% against the "
        "baseline), at the cost of TTFT at 8K 1.80 s (+20.0% against the baseline);"
    )


def test_keeping_the_default_is_an_answer() -> None:
    """A gain within the noise recommends nothing."""
    first, _ = verdict(findings_of(SPEC, [trial(0, 16, 1000.0), trial(1, 64, 1010.0)]))
    assert first.startswith("Keep the engine's defaults")


def test_criteria_that_are_not_met_are_named() -> None:
    """So are those that nobody measured."""
    _, second = verdict(findings_of(SPEC, [trial(0, 16, 1000.0), trial(1, 64, 1200.0)]))
    assert second.startswith(
        "2 of 5 criteria are met (not met: throughput against baseline; not measured: GPU memory"
    )


def test_a_baseline_that_breaks_a_limit_is_no_choice() -> None:
    """It is compared with all the same, and the reader is told."""
    failure = Failure(kind=FailureKind.MEMORY_LIMIT, phase="starting", message="over 11 GiB")
    base = trial(0, 16, 1000.0)
    broken = replace(base, outcome=Outcome(status=OutcomeStatus.INFEASIBLE, failure=failure))
    found = findings_of(SPEC, [broken, trial(1, 64, 1800.0)])
    assert "+80.0% against the baseline" in verdict(found)[0]
    assert remarks(found)[0] == "The baseline itself is no choice: over 11 GiB."
    alone = findings_of(SPEC, [replace(trial(1, 64, 1.0), kind=TrialKind.SEARCH)])
    assert "nothing to compare with" in remarks(alone)[0]


def test_the_verdict_is_two_sentences_whatever_else_is_to_be_said() -> None:
    """A broken baseline, two machines, something passed over: remarks, and no third sentence."""
    records = [
        replace(trial(n, seqs, speed, ttft_loaded_p50_ns=wait), environment={"gpu_uuid": card})
        for n, (seqs, speed, wait, card) in enumerate([
            (16, 1000.0, 1e9, "GPU-1"), (64, 1800.0, 60e9, "GPU-1"), (16, 800.0, 1e9, "GPU-2"),
        ])
    ]  # fmt: skip
    found = findings_of(SPEC, records)
    told = [*verdict(found), *remarks(found)]
    assert len(remarks(found)) >= 2
    for sentence in told:
        assert sentence.endswith(".")
        assert not re.search(r"[a-z)]\. [A-Z]", sentence), sentence


def test_nothing_feasible_names_the_commonest_cause() -> None:
    """And a study without a trial says that."""
    failure = Failure(kind=FailureKind.GPU_OOM_WEIGHTS, phase="starting", message="no room")
    first, second = verdict(findings_of(SPEC, [record(n, failure=failure) for n in range(3)]))
    assert first == "None of the 3 trials kept every limit."
    assert second == "The commonest end (3 of 3): infeasible: gpu oom weights (no room)."
    assert verdict(findings_of(SPEC, []))[0] == "No trial has ended yet."


def test_an_interval_narrows_with_repeats() -> None:
    """Of the recommended configuration's figure, around it."""
    once = findings_of(SPEC, [trial(0, 16, 1000.0), trial(1, 64, 1800.0)])
    low, high = once.intervals()["output_tokens_per_s"]
    assert low is not None
    assert high is not None
    assert low < 1800 < high
    again = [trial(0, 16, 1000.0), trial(1, 64, 1800.0), trial(2, 64, 1800.0)]
    closer_low, closer_high = findings_of(SPEC, again).intervals()["output_tokens_per_s"]
    assert closer_low is not None
    assert closer_high is not None
    assert closer_high - closer_low < high - low


def test_parameters_that_never_changed_are_left_out() -> None:
    """Unset counts as a value."""
    same = {"max_model_len": 32768}
    configurations = [Configuration.of(same), Configuration.of({**same, "block_size": 16})]
    assert varied_parameters(configurations) == ("block_size",)


def test_failures_are_grouped_with_margins_and_time() -> None:
    """By kind, the commonest first."""
    short = [Failure(kind=FailureKind.NO_ROOM_FOR_KV, phase="starting", message="no room",
                     margin_gib=margin) for margin in (-0.5, -1.5)]  # fmt: skip
    other = Failure(kind=FailureKind.HUNG, phase="probe:throughput", message="silent")
    records = [record(n, failure=f) for n, f in enumerate([*short, other])]
    groups = failure_groups(records)
    assert [g.kind for g in groups] == [FailureKind.NO_ROOM_FOR_KV, FailureKind.HUNG]
    assert groups[0].numbers == (0, 1)
    rows = failure_table(groups, simulated=False).rows
    assert rows[0][3].text == "0.50 to 1.50 GiB short"
    assert rows[1][2].text == "probe throughput"
    assert groups[0].seconds > 0


def test_the_map_says_with_which_values_trials_fail() -> None:
    """The parameter that tells most comes first; unset values are the default."""
    failure = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="no room")
    made = [
        record(n, config=Configuration.of({"a": n % 2, **({"b": 1} if n % 4 < 2 else {})}),
               failure=failure if n % 2 else None, metrics=None if n % 2 else {})
        for n in range(8)
    ]  # fmt: skip
    found = outcome_map(made, ("b", "a"))
    assert list(found) == ["a", "b"]
    assert [(s.value, s.total, s.counts["infeasible"]) for s in found["a"]] == [
        ("0", 4, 0), ("1", 4, 4),
    ]  # fmt: skip
    assert found["b"][0].value == "default"
    assert outcome_map(study_records(1), ("a",)) == {}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("best score: output_tokens_per_s x1.62", "Best score: output throughput *1.62"),
        ("ttft_8k_ns x0.80", "TTFT at 8K *0.80"),
        ("", ""),
    ],
)
def test_sentences_of_the_analysis_are_put_into_words(raw: str, shown: str) -> None:
    """Tags become titles, x becomes a sign, acronyms keep their capitals."""
    assert readable(raw) == shown.replace("*", "\N{MULTIPLICATION SIGN}")


def test_a_repeated_baseline_is_one_configuration() -> None:
    """Its last feasible trial stands for it."""
    records = [trial(0, 16, 1000.0), trial(1, 64, 1800.0)]
    again = replace(records[0], number=2)
    baseline = findings_of(SPEC, [*records, again]).baseline
    assert baseline is not None
    assert baseline.number == 2


def test_figures_of_two_machines_are_compared_by_the_baselines_ratio() -> None:
    """1,800 on a card whose baseline does 1,000 is 1,440 on one where it does 800; it is said."""
    there, here = {"gpu_uuid": "GPU-1"}, {"gpu_uuid": "GPU-2"}
    records = [
        replace(trial(0, 16, 1000.0), environment=there),
        replace(trial(1, 64, 1800.0), environment=there),
        replace(trial(2, 16, 800.0), kind=TrialKind.BASELINE, environment=here),
    ]
    found = findings_of(SPEC, records)
    first, _ = verdict(found)
    (second,) = remarks(found)
    assert trials_of(found).notes[-1] == str(*found.corrections)
    assert "output throughput 1,440 tok/s (+80.0% against the baseline)" in first
    assert "Trials 0 to 1 were measured on another machine than trial 2 on;" in second
    assert "Output throughput by 0.800" in second


def test_the_corrections_that_are_told_are_those_of_the_figures() -> None:
    """The default was asked for by another name on the second card, three quarters as fast."""
    settings = Applied(settings={"max_num_seqs": 64})
    first, second = (
        replace(made, applied=settings, environment={"gpu_uuid": card})
        for made, card in ((trial(0, 64, 1000.0), "GPU-1"), (trial(1, 64, 750.0), "GPU-2"))
    )
    found = findings_of(SPEC, [replace(first, configuration=Configuration()), second])
    (correction,) = found.corrections
    scaled = {r.number: r.metrics["output_tokens_per_s"] for r in found.records}
    assert correction.ratios["output_tokens_per_s"] == pytest.approx(0.75)
    assert scaled == {0: pytest.approx(750.0), 1: 750.0}


def test_trials_of_a_verification_are_no_points() -> None:
    """They are judged by themselves, and broke no limit either."""
    records = [*study_records(6), record(6, kind=TrialKind.VERIFY, config=Configuration())]
    found = findings_of(StudySpec(name="sample"), records, with_importances=False)
    assert 6 not in {point.number for point in found.plotted}
    assert {r.number for r in found.plotted} <= set(range(6))
