"""What everything is compared with, where the default itself is not feasible."""

from dataclasses import replace

from autotune.analysis.measurements import baseline_of
from autotune.analysis.recommend import Basis, recommend
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.study import study_from

SPEC = study_from({"name": "s", "objectives": ["output_tokens_per_s"]}, where="test")
OVER = Failure(kind=FailureKind.MEMORY_LIMIT, phase="limits", message="11.5 GiB are over 11")


def trial(number: int, kind: TrialKind, speed: float | None, *, over: bool = False) -> TrialRecord:
    """A trial of some speed."""
    status = OutcomeStatus.INFEASIBLE if over else OutcomeStatus.MEASURED
    values = {} if kind is TrialKind.BASELINE else {"max_num_seqs": number}
    return TrialRecord(
        study="s",
        number=number,
        kind=kind,
        configuration=Configuration.of(values),
        outcome=Outcome(status=status, failure=OVER if over else None),
        metrics={"output_tokens_per_s": speed},
    )


def test_a_default_over_a_limit_is_still_what_the_user_has_today() -> None:
    """Gains are told against it, though it is no candidate."""
    records = [
        trial(0, TrialKind.BASELINE, 100.0, over=True),
        trial(1, TrialKind.SEARCH, 150.0),
    ]

    chosen = recommend(records, SPEC)

    assert chosen.record.number == 1
    assert chosen.baseline == records[0]
    assert round(chosen.gains["output_tokens_per_s"], 6) == 1.5
    assert not chosen.keep_default
    assert OVER.message in chosen.settings[0].text


def test_a_default_that_never_answered_is_no_reference() -> None:
    """There is nothing to compare with."""
    assert baseline_of([trial(0, TrialKind.BASELINE, None, over=True)]) is None


def test_a_feasible_trial_of_the_baseline_is_preferred() -> None:
    """Whatever was measured before it."""
    records = [
        trial(0, TrialKind.BASELINE, 100.0, over=True),
        trial(1, TrialKind.BASELINE, 101.0),
        trial(2, TrialKind.BASELINE, 102.0, over=True),
    ]

    assert baseline_of(records) == records[1]


def lowered(number: int, share: float, *, over: bool = False) -> TrialRecord:
    """The default with a share of the card."""
    made = trial(number, TrialKind.REPAIR, 99.0, over=over)
    return replace(made, configuration=Configuration.of({"gpu_memory_utilization": share}))


def test_the_default_with_a_lower_share_stands_for_one_over_its_memory_bound() -> None:
    """The highest share that fits, whatever came last, and that is what is kept."""
    records = [
        trial(0, TrialKind.BASELINE, 100.0, over=True),
        lowered(1, 0.9),
        lowered(2, 0.8),
        trial(3, TrialKind.SEARCH, 100.5),
    ]

    chosen = recommend(records, SPEC)

    assert chosen.baseline == records[1]
    assert chosen.keep_default
    assert chosen.configuration == records[1].configuration
    assert chosen.repaired == {"gpu_memory_utilization": 0.9}
    assert "keep the engine's defaults with gpu_memory_utilization 0.9" in chosen.reason
    assert OVER.message in chosen.settings[0].text
    (reason,) = chosen.settings
    assert reason.basis is Basis.NEEDED
    assert OVER.message in reason.text


def test_what_is_worse_than_the_repaired_default_is_not_recommended() -> None:
    """Slower by a fifth than the default that fits: the default's failure is no licence."""
    records = [
        trial(0, TrialKind.BASELINE, 100.0, over=True),
        lowered(1, 0.9),
        trial(2, TrialKind.SEARCH, 80.0),
    ]

    assert recommend(records, SPEC).keep_default


def test_a_repeat_among_the_finalists_is_the_later_start_of_the_baseline() -> None:
    """So that a start with warm caches is held against another one."""
    again = replace(trial(5, TrialKind.BASELINE, 101.0), kind=TrialKind.FINALIST)
    records = [trial(0, TrialKind.BASELINE, 100.0), again]

    assert baseline_of(records) == again
