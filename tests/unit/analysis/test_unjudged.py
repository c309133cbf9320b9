"""A trial that was cut off broke no limit, and a study of such trials says so."""

from dataclasses import replace

import pytest

from autotune.analysis.recommend import recommend
from autotune.analysis.unjudged import nothing_feasible
from autotune.errors import NothingFeasibleError, NothingJudgedError
from autotune.records import Failure, FailureKind, Outcome, OutcomeStatus, TrialKind, TrialRecord
from autotune.report.findings import findings_of
from autotune.report.verdict import verdict
from autotune.spec.study import StudySpec
from tests.support.records import record

SPEC = StudySpec(name="tiny")


def ended(
    number: int,
    status: OutcomeStatus,
    kind: FailureKind,
    message: str,
) -> TrialRecord:
    """A trial that ended so."""
    failure = Failure(kind=kind, phase="starting", message=message)
    outcome = Outcome(status=status, failure=failure)
    return replace(record(number, failure=failure), outcome=outcome)


CUT = ended(0, OutcomeStatus.FAILED, FailureKind.INTERRUPTED, "the study's time was over")
AWAY = ended(1, OutcomeStatus.FAILED, FailureKind.DEPLOYER_FAULT, "Docker does not answer")
OVER = ended(2, OutcomeStatus.INFEASIBLE, FailureKind.MEMORY_LIMIT, "over 11 GiB")


def test_a_study_whose_only_trial_was_cut_off_says_that_and_how_to_go_on() -> None:
    """It broke no limit, so that exit code and hint are those of a study that is not done."""
    with pytest.raises(NothingJudgedError) as caught:
        recommend([CUT], SPEC)

    assert caught.value.exit_code == 16
    assert caught.value.message == (
        "of 'tiny' no trial has run to its end: 1 cut off (the study's time was over)"
    )
    assert "goes on" in caught.value.hint
    first, second = verdict(findings_of(SPEC, [CUT]))
    assert first == "No trial has run to its end: 1 cut off (the study's time was over)."
    assert second == caught.value.hint


def test_what_the_host_did_is_not_laid_on_the_settings() -> None:
    """Each end with its cause, the commonest first."""
    first, _ = verdict(findings_of(SPEC, [CUT, AWAY, replace(AWAY, number=2)]))

    assert first == (
        "No trial has run to its end: 2 failed by no fault of the settings (Docker does not "
        "answer); 1 cut off (the study's time was over)."
    )


def test_limits_were_broken_by_those_only_that_were_judged() -> None:
    """One over a limit and one cut off: the one did not keep every limit, and the other is told."""
    error = nothing_feasible("tiny", [CUT, OVER])

    assert type(error) is NothingFeasibleError
    assert error.exit_code == 14
    assert error.message == "the one trial of 'tiny' that was judged is not feasible"
    first, second = verdict(findings_of(SPEC, [CUT, OVER]))
    assert first == "The one trial that was judged did not keep every limit."
    assert "; another 1 did not run to an end" in second


def test_a_study_without_a_trial_says_so() -> None:
    """Nothing ended, nothing failed."""
    assert nothing_feasible("tiny", []).message == "of 'tiny' no trial has ended yet"


def test_cells_of_a_matrix_are_not_said_to_have_broken_a_limit() -> None:
    """Seven of nine were measured whole; that none is chosen is what a matrix is."""
    cell = record(4, kind=TrialKind.MATRIX, metrics={"output_tokens_per_s": 700.0})
    first, _ = verdict(findings_of(SPEC, [cell, replace(OVER, kind=TrialKind.MATRIX)]))

    assert first == "This is a matrix: its 2 cells are compared, none is chosen."


def test_trials_that_kept_every_limit_and_lack_an_objective_are_not_said_to_have_broken_one() -> (
    None
):
    """No figure of the context's capacity: no candidate, and no fault of a limit."""
    half = record(4, metrics={"output_tokens_per_s": 700.0})
    first, _ = verdict(findings_of(SPEC, [half, OVER]))

    assert first.startswith("No configuration is a candidate: of the 1 trials that kept every")
    assert "kept every limit" not in nothing_feasible("tiny", [OVER]).message
