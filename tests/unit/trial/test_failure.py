"""Naming failures by exit and phase where the engine's own texts say nothing."""

from dataclasses import dataclass

import pytest

from autotune.records import Failure, FailureKind, OutcomeStatus
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from autotune.trial.failure import classify, outcome_of


@dataclass
class Silent:
    """An engine whose texts tell nothing, or exactly one thing."""

    told: Failure | None = None

    def explain(self, _evidence: Evidence) -> Failure | None:
        return self.told


def named(evidence: Evidence) -> FailureKind:
    """The kind by exit and phase alone."""
    return classify(evidence, Silent()).kind  # type: ignore[arg-type] # only `explain` is used


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (Evidence(phase="starting", exit=ExitEvidence(exit_code=1)), FailureKind.CRASHED_AT_START),
        (
            Evidence(phase="probe:ttft", healthy_once=True, exit=ExitEvidence(exit_code=0)),
            FailureKind.DIED_UNDER_LOAD,
        ),
        (
            Evidence(phase="starting", exit=ExitEvidence(exit_code=137, oom_killed=True)),
            FailureKind.CONTAINER_OOM,
        ),
        (
            Evidence(phase="starting", exit=ExitEvidence(exit_code=137, oom_killed=False)),
            FailureKind.KILLED_FROM_OUTSIDE,
        ),
        (
            Evidence(phase="starting", exit=ExitEvidence(exit_code=-9, signal=9)),
            FailureKind.KILLED_FROM_OUTSIDE,
        ),
        (
            Evidence(
                phase="probe:ttft",
                healthy_once=True,
                exit=ExitEvidence(deployer_fault=True, detail="Docker went away"),
            ),
            FailureKind.DEPLOYER_FAULT,
        ),
        (
            Evidence(
                phase="starting",
                exit=ExitEvidence(
                    exit_code=137, signal=9, detail="the kernel's OOM killer ended 4711"
                ),
            ),
            FailureKind.HOST_OOM,
        ),
        (Evidence(phase="starting"), FailureKind.START_TIMEOUT),
        (Evidence(phase="probe:ttft", healthy_once=True), FailureKind.HUNG),
    ],
)
def test_exit_and_phase_name_what_the_log_does_not(evidence: Evidence, kind: FailureKind) -> None:
    """Each way to end without a word has its name."""
    assert named(evidence) is kind


def test_what_broke_under_the_engine_comes_before_its_last_words() -> None:
    """A Docker engine that stops ends its containers, which then print tracebacks."""
    told = Failure(kind=FailureKind.DIED_UNDER_LOAD, phase="probe:ttft", message="by the log")
    exit_code = ExitEvidence(exit_code=143, signal=15, deployer_fault=True, detail="was away")
    evidence = Evidence(phase="probe:ttft", healthy_once=True, exit=exit_code)

    assert classify(evidence, Silent(told)).kind is FailureKind.DEPLOYER_FAULT  # type: ignore[arg-type] # as above


def test_the_engines_own_text_comes_first() -> None:
    """A root cause in the log beats the exit code that it led to."""
    told = Failure(kind=FailureKind.KV_TOO_SMALL, phase="starting", message="by the log")
    evidence = Evidence(phase="starting", exit=ExitEvidence(exit_code=137, oom_killed=True))

    assert classify(evidence, Silent(told)) is told  # type: ignore[arg-type] # as above


def test_the_last_lines_of_the_log_are_the_evidence() -> None:
    """Somebody who reads the record sees what the engine said last."""
    evidence = Evidence(phase="starting", exit=ExitEvidence(exit_code=3), log="a\nboom\n")

    failure = classify(evidence, Silent())  # type: ignore[arg-type] # as above

    assert "boom" in failure.evidence
    assert "exit code 3" in failure.evidence


def test_every_kind_has_exactly_one_status_and_only_success_is_measured() -> None:
    """No failure passes for a measurement."""
    statuses = {
        kind: outcome_of(Failure(kind=kind, phase="p", message="m")).status for kind in FailureKind
    }

    assert len(statuses) == len(FailureKind)
    assert OutcomeStatus.MEASURED not in statuses.values()
    assert outcome_of(None).status is OutcomeStatus.MEASURED


@pytest.mark.parametrize(
    "kind",
    [FailureKind.MODEL_MISSING, FailureKind.MODEL_GATED, FailureKind.DRIVER_TOO_OLD,
     FailureKind.NO_GPU],
)  # fmt: skip
def test_what_every_trial_would_meet_is_never_the_configurations_fault(kind: FailureKind) -> None:
    """A configuration is not blamed for a missing model; several in a row end the study."""
    failure = Failure(kind=kind, phase="p", message="m")
    assert outcome_of(failure).status is OutcomeStatus.FAILED
