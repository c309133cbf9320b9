"""What the sampler is told: complete, ordered, signed."""

import itertools
import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.study.outcomes import (
    ANSWERS,
    BLAME,
    GPU_MEMORY,
    HOST_MEMORY,
    KV_CACHE,
    STABILITY,
    START,
    constraint_keys,
    constraints_of,
    told_as,
)
from tests.unit.study.fakes import measured, study_spec

SPEC = study_spec()
EMPTY = Configuration()
EVERY_PAIR = list(itertools.product(OutcomeStatus, [None, *FailureKind]))

HOST_FAULTS = {
    "gpu_memory_taken", "driver_too_old", "no_gpu", "model_missing", "model_gated",
    "port_in_use", "killed_from_outside", "client_bound", "deployer_fault", "interrupted",
    "autotune_fault",
}  # fmt: skip


def trial(status: OutcomeStatus, kind: FailureKind | None = None, **changes: object) -> TrialRecord:
    """A record that ended so."""
    failure = None
    if kind is not None:
        failure = Failure(kind=kind, phase="starting", message="words")
    fields = {
        "study": "s",
        "number": 0,
        "kind": TrialKind.SEARCH,
        "configuration": EMPTY,
        "outcome": Outcome(status=status, failure=failure),
        "metrics": measured(EMPTY),
    }
    return TrialRecord(**{**fields, **changes})  # type: ignore[arg-type]


def infeasible(kind: FailureKind, **failure: object) -> TrialRecord:
    """An infeasible record with a failure of its own making."""
    made = Failure(kind=kind, **{"phase": "starting", "message": "words", **failure})  # type: ignore[arg-type]
    return trial(OutcomeStatus.INFEASIBLE, outcome=Outcome(
        status=OutcomeStatus.INFEASIBLE, failure=made), metrics={})  # fmt: skip


def test_every_kind_of_failure_has_its_blame() -> None:
    """A new kind cannot be forgotten, and the host's faults are those of this list."""
    assert set(BLAME) == set(FailureKind)
    assert {kind.value for kind, key in BLAME.items() if key is None} == HOST_FAULTS


@pytest.mark.parametrize(("status", "kind"), EVERY_PAIR)
def test_every_outcome_is_told(status: OutcomeStatus, kind: FailureKind | None) -> None:
    """Each pair of outcome and failure has a finished state with every constraint, finite."""
    told = told_as(trial(status, kind), SPEC)
    assert told.state.is_finished()
    assert tuple(told.constraints) == constraint_keys(SPEC)
    assert all(math.isfinite(value) for value in told.constraints.values())
    assert (told.values is not None) == (told.state is TrialState.COMPLETE)
    violated = any(value > 0 for value in told.constraints.values())
    if status is OutcomeStatus.MEASURED:
        assert told.state is TrialState.COMPLETE
        assert not violated
    elif status is OutcomeStatus.FAILED and (kind is None or kind.value in HOST_FAULTS):
        assert told.state is TrialState.FAIL
        assert not violated
    else:
        assert told.state is TrialState.PRUNED
        assert violated


def test_a_missing_objective_is_never_invented() -> None:
    """Feasible without a figure for one objective: pruned, no values."""
    metrics = {**measured(EMPTY), "ttft_8k_ns": None}
    told = told_as(trial(OutcomeStatus.MEASURED, metrics=metrics), SPEC)
    assert (told.state, told.values) == (TrialState.PRUNED, None)


def test_values_are_in_the_order_of_the_study() -> None:
    """Objectives are told raw, in the study's order, as floats."""
    metrics = {"context_capacity_tokens": 3, "output_tokens_per_s": 1.0, "ttft_8k_ns": 2.0}
    told = told_as(trial(OutcomeStatus.MEASURED, metrics=metrics), SPEC)
    assert told.values == (1.0, 2.0, 3.0)
    assert told.values is not None
    assert all(isinstance(value, float) for value in told.values)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (FailureKind.GPU_OOM_GRAPHS, GPU_MEMORY),
        (FailureKind.KV_TOO_SMALL, KV_CACHE),
        (FailureKind.CONTAINER_OOM, HOST_MEMORY),
        (FailureKind.UNSUPPORTED_COMBINATION, START),
        (FailureKind.DIED_UNDER_LOAD, STABILITY),
        (FailureKind.WRONG_ANSWERS, ANSWERS),
    ],
)
def test_only_the_violated_constraint_is_positive(kind: FailureKind, key: str) -> None:
    """A failure speaks of its own constraint and leaves the others unknown."""
    values = constraints_of(infeasible(kind), SPEC)
    assert {name for name, value in values.items() if value > 0} == {key}
    assert {value for name, value in values.items() if name != key} == {0.0}


def test_a_margin_makes_the_violation_gradual() -> None:
    """GiB short weigh one to one on the GPU and a tenth on the host."""
    gpu = infeasible(FailureKind.GPU_OOM, margin_gib=-0.25)
    host = infeasible(FailureKind.HOST_OOM, margin_gib=-5.0)
    assert constraints_of(gpu, SPEC)[GPU_MEMORY] == pytest.approx(0.25)
    assert constraints_of(host, SPEC)[HOST_MEMORY] == pytest.approx(0.5)


def test_a_predicted_margin_is_told_of_what_was_kept() -> None:
    """A measured trial carries how much memory it had to spare."""
    record = trial(OutcomeStatus.MEASURED, predicted={"gpu_margin_gib": 0.4})
    assert constraints_of(record, SPEC)[KV_CACHE] == pytest.approx(-0.4)


def test_a_measured_peak_says_how_much_headroom_was_left() -> None:
    """12 GiB less a peak of 10.7 less 1 to stay free: 0.3 GiB were left."""
    gib = 1024**3
    record = trial(
        OutcomeStatus.MEASURED,
        metrics={**measured(EMPTY), "gpu_memory_peak_bytes": 10.7 * gib},
        environment={"gpu_memory_bytes": str(12 * gib)},
    )
    assert constraints_of(record, SPEC)[GPU_MEMORY] == pytest.approx(-0.3)


def test_what_came_up_is_no_refusal() -> None:
    """Out of memory under load: the engine took the configuration, and that is learnt."""
    record = infeasible(FailureKind.GPU_OOM_UNDER_LOAD)
    assert constraints_of(record, SPEC)[START] == 0.0
    assert constraints_of(replace(record, applied=Applied()), SPEC)[START] == -1.0


def test_a_prediction_proved_wrong_is_not_held_against_a_trial() -> None:
    """Predicted to be short but measured: the trial is feasible to every reader."""
    record = trial(OutcomeStatus.MEASURED, predicted={"gpu_margin_gib": -2.0})
    assert max(constraints_of(record, SPEC).values()) <= 0


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ("GPU memory in use reached 11.20 GiB", GPU_MEMORY),
        ("host memory in use reached 86 GiB", HOST_MEMORY),
    ],
)
def test_a_broken_headroom_names_its_side(message: str, key: str) -> None:
    """MEMORY_LIMIT is about the GPU or about the host, and says which."""
    values = constraints_of(
        infeasible(FailureKind.MEMORY_LIMIT, message=message, margin_gib=-1.0), SPEC
    )
    assert {name for name, value in values.items() if value > 0} == {key}


def test_screening_names_the_side_that_would_not_fit() -> None:
    """The negative predicted margin decides for WOULD_NOT_FIT."""
    record = trial(
        OutcomeStatus.SCREENED,
        FailureKind.WOULD_NOT_FIT,
        metrics={},
        predicted={"gpu_margin_gib": 1.0, "host_margin_gib": -20.0},
    )
    values = constraints_of(record, SPEC)
    assert values[HOST_MEMORY] == pytest.approx(2.0)
    assert values[KV_CACHE] == pytest.approx(-1.0)


def test_a_missed_limit_is_relative_to_its_bound() -> None:
    """3 s against at most 2 s is a violation of a half."""
    record = trial(
        OutcomeStatus.INFEASIBLE,
        FailureKind.LIMIT_MISSED,
        metrics={**measured(EMPTY), "ttft_8k_ns": 3e9},
        limits=(LimitCheck(metric="ttft_8k_ns", bound=2e9, value=3e9, kept=False),),
    )
    values = constraints_of(record, SPEC)
    assert values["limit:ttft_8k_ns"] == pytest.approx(0.5)
    assert max(v for k, v in values.items() if k != "limit:ttft_8k_ns") < 0


def test_a_limit_nobody_could_measure_is_violated() -> None:
    """The trial ended for it, so the sampler learns it as violated."""
    record = trial(
        OutcomeStatus.INFEASIBLE,
        FailureKind.LIMIT_MISSED,
        metrics={},
        limits=(LimitCheck(metric="ttft_8k_ns", bound=2e9, value=None, kept=None),),
    )
    assert constraints_of(record, SPEC)["limit:ttft_8k_ns"] == 1.0


def test_stored_constraints_are_what_is_told() -> None:
    """A record read from disk is told as it was told the first time."""
    stored = dict.fromkeys(constraint_keys(SPEC), -0.5)
    assert told_as(trial(OutcomeStatus.MEASURED, constraints=stored), SPEC).constraints == stored
