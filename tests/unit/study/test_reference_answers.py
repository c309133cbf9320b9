"""Whose answers later trials are held against."""

from collections.abc import Mapping

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.study.reference_answers import reference_answers
from autotune.trial.failure import outcome_of
from tests.unit.study.bench import fail


def answered(
    number: int, kind: TrialKind, answers: Mapping[str, object], failure: Failure | None = None
) -> TrialRecord:
    """A trial of the default, or of another configuration, whose correctness probe answered."""
    of_default = kind in {TrialKind.BASELINE, TrialKind.RETRY}
    settings = {} if of_default else {"max_num_seqs": 16}
    probe = ProbeResult(probe="correctness", status=ProbeStatus.MEASURED, reference=answers)
    return TrialRecord(
        study="s",
        number=number,
        kind=kind,
        configuration=Configuration.of(settings),
        outcome=outcome_of(failure),
        probes=(probe,),
    )


def test_answers_are_held_against_a_default_that_broke_a_limit() -> None:
    """On a small card the default takes too much memory; its answers are right all the same."""
    baseline = answered(0, TrialKind.BASELINE, {"a": 1}, fail(FailureKind.MEMORY_LIMIT))
    other = answered(1, TrialKind.SEARCH, {})
    assert reference_answers([baseline, other]) == {"correctness": {"a": 1}}


def test_answers_are_held_against_a_default_that_had_to_be_run_again() -> None:
    """The first try failed by the host's fault and answered nothing; a stranger's do not count."""
    failed = answered(0, TrialKind.BASELINE, {}, fail(FailureKind.DEPLOYER_FAULT))
    other = answered(1, TrialKind.SEARCH, {"a": 2})
    assert reference_answers([failed, other]) is None
    retry = answered(2, TrialKind.RETRY, {"a": 1})
    assert reference_answers([failed, other, retry]) == {"correctness": {"a": 1}}


def test_a_baseline_that_is_repeated_keeps_the_first_answers() -> None:
    """It is held against them itself and so gives none of its own."""
    first, again = (answered(n, TrialKind.BASELINE, a) for n, a in ((0, {"a": 1}), (9, {})))
    assert reference_answers([first, again]) == {"correctness": {"a": 1}}
