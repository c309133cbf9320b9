"""Records that the study itself writes, of trials that no runner finished."""

from autotune.clock import Clock
from autotune.records import (
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialRecord,
)
from autotune.seams.engine import Screening
from autotune.seams.trial import TrialRequest
from autotune.spec.study import StudySpec
from autotune.study.agenda import Planned


def predictions(screening: Screening) -> dict[str, float]:
    """What the memory model expects, its margins among it."""
    margins = {
        "gpu_margin_gib": screening.gpu_margin_gib,
        "host_margin_gib": screening.host_margin_gib,
    }
    known = {name: value for name, value in margins.items() if value is not None}
    return {**screening.predicted, **known}


def screened(
    spec: StudySpec,
    number: int,
    planned: Planned,
    *,
    failure: Failure,
    screening: Screening,
    clock: Clock,
) -> TrialRecord:
    """A trial that was refused before its start."""
    return TrialRecord(
        study=spec.name,
        number=number,
        kind=planned.kind,
        label=planned.label,
        configuration=planned.configuration,
        outcome=Outcome(status=OutcomeStatus.SCREENED, failure=failure),
        predicted=predictions(screening),
        simulated=spec.engine.name == "simulated",
        left_out=dict(planned.left_out),
        wall_start=clock.wall().isoformat(),
    )


def ended_early(spec: StudySpec, request: TrialRequest, message: str) -> TrialRecord:
    """A trial whose runner raised; it is run again when the study goes on."""
    failure = Failure(kind=FailureKind.INTERRUPTED, phase="unknown", message=message)
    return TrialRecord(
        study=spec.name,
        number=request.number,
        kind=request.kind,
        label=request.label,
        configuration=request.configuration,
        outcome=Outcome(status=OutcomeStatus.FAILED, failure=failure),
        simulated=spec.engine.name == "simulated",
        left_out=dict(request.left_out),
    )
