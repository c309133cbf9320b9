"""What the sampler is told of a trial: state, values and constraints. Pure, and the one place.

Optuna 5.0.0 in short (read in `samplers/_tpe/sampler.py`, then run): FAIL is never looked at, so
an out-of-memory told as FAIL is proposed again; PRUNED with a violated constraint is learnt as
infeasible; constraints are write-once, and samplers pair them by position, so every trial carries
every key in one order. Positive values are summed to rank infeasible trials, hence O(1) scales.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optuna.trial import TrialState

from autotune.records import FailureKind, LimitCheck, OutcomeStatus, ProbeStatus, TrialRecord
from autotune.spec.study import Limit, StudySpec
from autotune.units import gib_from_bytes

START: Final = "start"
GPU_MEMORY: Final = "gpu_memory"
KV_CACHE: Final = "kv_cache"
HOST_MEMORY: Final = "host_memory"
STABILITY: Final = "stability"
ANSWERS: Final = "answers"
LIMIT_PREFIX: Final = "limit:"
ALWAYS: Final = (START, GPU_MEMORY, KV_CACHE, HOST_MEMORY, STABILITY, ANSWERS)
"""Constraints of every study."""

BLAME: Final[Mapping[FailureKind, str | None]] = {
    FailureKind.GPU_OOM_WEIGHTS: GPU_MEMORY,
    FailureKind.GPU_OOM_PROFILING: GPU_MEMORY,
    FailureKind.GPU_OOM_GRAPHS: GPU_MEMORY,
    FailureKind.GPU_OOM_WARMUP: GPU_MEMORY,
    FailureKind.GPU_OOM_UNDER_LOAD: GPU_MEMORY,
    FailureKind.GPU_OOM: GPU_MEMORY,
    FailureKind.GPU_MEMORY_TAKEN: None,
    FailureKind.NO_ROOM_FOR_KV: KV_CACHE,
    FailureKind.KV_TOO_SMALL: KV_CACHE,
    FailureKind.HOST_OOM: HOST_MEMORY,
    FailureKind.CONTAINER_OOM: HOST_MEMORY,
    FailureKind.SHM_TOO_SMALL: HOST_MEMORY,
    FailureKind.PINNING_REFUSED: HOST_MEMORY,
    FailureKind.MEMORY_LIMIT: GPU_MEMORY,
    FailureKind.UNSUPPORTED_COMBINATION: START,
    FailureKind.UNKNOWN_ARGUMENT: START,
    FailureKind.INVALID_VALUE: START,
    FailureKind.NO_KERNEL: START,
    FailureKind.DRIVER_TOO_OLD: None,
    FailureKind.NO_GPU: None,
    FailureKind.MODEL_MISSING: None,
    FailureKind.MODEL_GATED: None,
    FailureKind.PORT_IN_USE: None,
    FailureKind.START_TIMEOUT: START,
    FailureKind.CRASHED_AT_START: START,
    FailureKind.DIED_UNDER_LOAD: STABILITY,
    FailureKind.HUNG: STABILITY,
    FailureKind.REQUESTS_FAILED: STABILITY,
    FailureKind.LIMIT_MISSED: STABILITY,
    FailureKind.WRONG_ANSWERS: ANSWERS,
    FailureKind.NOT_APPLIED: START,
    FailureKind.WOULD_NOT_FIT: KV_CACHE,
    FailureKind.ILLEGAL: START,
    FailureKind.KILLED_FROM_OUTSIDE: None,
    FailureKind.CLIENT_BOUND: None,
    FailureKind.DEPLOYER_FAULT: None,
    FailureKind.AUTOTUNE_FAULT: None,
    FailureKind.INTERRUPTED: None,
}
"""The constraint that a kind of failure violates; None is the host's fault or ours.

LIMIT_MISSED violates the constraint of its limit where the record says which, and stability
(a preemption storm, say) where it does not; MEMORY_LIMIT and WOULD_NOT_FIT likewise for memory.
Too little room for the KV cache is a constraint of its own: more of the GPU mends it, and breaks
`gpu_memory`.
"""

KEPT: Final = -1.0
"""A constraint known to be kept, by an unknown margin."""
VIOLATED: Final = 1.0
"""A constraint known to be violated, by an unknown margin."""
UNKNOWN: Final = 0.0
"""Nothing was learnt of it: it neither helps nor harms (feasible is <= 0)."""
_CLIP: Final = 3.0
_SCALES_GIB: Final = {GPU_MEMORY: 1.0, KV_CACHE: 1.0, HOST_MEMORY: 10.0}
"""10 GiB of host memory weigh as much as 1 GiB of GPU memory: about their ratio on machines
with one consumer card, and the same scale as in the measurements behind docs/search.md."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What `study.tell` gets.

    Attributes:
        values: Objectives in the study's order, raw units; None unless the state is COMPLETE.
        partial: What was measured of them where not all were; only our own sampler can use it.
    """

    state: TrialState
    values: tuple[float, ...] | None
    constraints: Mapping[str, float]
    partial: tuple[float | None, ...] = ()


def constraint_keys(spec: StudySpec) -> tuple[str, ...]:
    """Every constraint of a study, in the order in which every trial carries them."""
    limits = dict.fromkeys(LIMIT_PREFIX + limit.metric for limit in spec.limits)
    return (*ALWAYS, *limits)


def constraints_of(record: TrialRecord, spec: StudySpec) -> dict[str, float]:
    """Constraint values of a trial: <= 0 is kept, 1 is about a GiB, a doubling, or a plain no.

    Signed margins are used where the engine's text, the memory model or a limit gives one.
    """
    values = dict.fromkeys(constraint_keys(spec), UNKNOWN)
    if _answered(record):
        values |= dict.fromkeys(ALWAYS, KEPT)
    elif _started(record):
        values[START] = KEPT
    values |= _memory_margins(record, spec)
    for limit in spec.limits:
        key = LIMIT_PREFIX + limit.metric
        values[key] = max(values[key], _limit_value(limit, record.metrics.get(limit.metric)))
    violated = violated_constraint(record)
    if violated is not None:
        key = violated if violated in values else STABILITY
        values[key] = _violation(record, key, values[key])
    if record.is_feasible:  # whoever classified it measured it against the limits
        values = {name: min(value, 0.0) for name, value in values.items()}
    return values


def violated_constraint(record: TrialRecord) -> str | None:
    """The constraint that ended a trial; None if none did."""
    status, failure = record.outcome.status, record.outcome.failure
    if status is OutcomeStatus.MEASURED:
        return None
    if failure is None:
        return None if status is OutcomeStatus.FAILED else START
    key = BLAME[failure.kind]
    if key is None:  # the host's fault, unless whoever saw it calls the configuration infeasible
        return None if status is OutcomeStatus.FAILED else START
    if failure.kind is FailureKind.LIMIT_MISSED:
        broken = _broken_limit(record)
        if broken is None:
            return key
        if "memory" in broken.metric:
            return GPU_MEMORY if broken.metric.startswith("gpu") else HOST_MEMORY
        return LIMIT_PREFIX + broken.metric
    if failure.kind in {FailureKind.MEMORY_LIMIT, FailureKind.WOULD_NOT_FIT}:
        return HOST_MEMORY if _is_about_host(record) else key
    return key


def told_as(record: TrialRecord, spec: StudySpec) -> Told:
    """State, values and constraints for the sampler.

    MEASURED with every objective is COMPLETE. MEASURED without one (a probe was skipped) is
    PRUNED: it cannot be on the front, and no value is invented for it. What is the
    configuration's fault is PRUNED with a violated constraint. The host's fault is FAIL.
    """
    constraints = record.constraints or constraints_of(record, spec)
    values = objective_values(record, spec)
    match record.outcome.status:
        case OutcomeStatus.MEASURED if values is not None:
            return Told(state=TrialState.COMPLETE, values=values, constraints=constraints)
        case OutcomeStatus.FAILED if violated_constraint(record) is None:
            return Told(state=TrialState.FAIL, values=None, constraints=constraints)
        case OutcomeStatus.MEASURED:
            partial = tuple(record.metrics.get(o.metric) for o in spec.objectives)
            return Told(
                state=TrialState.PRUNED, values=None, constraints=constraints, partial=partial
            )
        case _:
            return Told(state=TrialState.PRUNED, values=None, constraints=constraints)


def objective_values(record: TrialRecord, spec: StudySpec) -> tuple[float, ...] | None:
    """The objectives in the study's order; None if one was not measured or is not finite."""
    values = [record.metrics.get(objective.metric) for objective in spec.objectives]
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    return tuple(known) if len(known) == len(values) else None


def _answered(record: TrialRecord) -> bool:
    """Whether it served its probes to the end, limits aside."""
    failure = record.outcome.failure
    return record.outcome.status is OutcomeStatus.MEASURED or (
        failure is not None and failure.kind is FailureKind.LIMIT_MISSED
    )


def _started(record: TrialRecord) -> bool:
    """Whether the engine took the configuration and came up, whatever happened then."""
    return record.applied is not None or any(
        probe.status is ProbeStatus.MEASURED for probe in record.probes
    )


def _memory_margins(record: TrialRecord, spec: StudySpec) -> dict[str, float]:
    """Memory constraints: what was measured against the headroom, else what was predicted.

    Of a trial that failed only what was predicted short is kept: nobody saw the rest.
    """
    headroom = spec.headroom
    margins = {
        GPU_MEMORY: _headroom_gib(record, "gpu", headroom.gpu_gib),
        KV_CACHE: record.predicted.get("gpu_margin_gib"),
        HOST_MEMORY: _headroom_gib(record, "host", headroom.host_gib),
    }
    if margins[HOST_MEMORY] is None:
        margins[HOST_MEMORY] = record.predicted.get("host_margin_gib")
    found = {k: _clip(-m / _SCALES_GIB[k]) for k, m in margins.items() if m is not None}
    return {k: v for k, v in found.items() if v <= 0 or not _answered(record)}


def _headroom_gib(record: TrialRecord, side: str, headroom_gib: float) -> float | None:
    """GiB left over the headroom at the trial's peak; None if it was not measured."""
    peak = record.metrics.get(f"{side}_memory_peak_bytes")
    total = record.environment.get(f"{side}_memory_bytes", "")
    if peak is None or not total.isdecimal():
        return None
    return gib_from_bytes(int(total) - peak) - headroom_gib


def _limit_value(limit: Limit, value: float | None) -> float:
    """Relative excess over a bound: 1 is twice the upper or none of the lower bound."""
    if value is None:
        return UNKNOWN
    if limit.upper is not None:
        return _clip((value - limit.upper) / (abs(limit.upper) or 1.0))
    bound = limit.at_least or 0.0
    return _clip((bound - value) / (abs(bound) or 1.0))


def _violation(record: TrialRecord, key: str, known: float) -> float:
    """How far a violated constraint is violated; always positive."""
    failure = record.outcome.failure
    if key.startswith(LIMIT_PREFIX):
        return known if known > 0 else VIOLATED
    if failure is not None and failure.margin_gib is not None and failure.margin_gib < 0:
        scale = _SCALES_GIB.get(key)
        if scale is not None:
            return max(1e-3, _clip(-failure.margin_gib / scale))
    return known if known > 0 else VIOLATED


def _broken_limit(record: TrialRecord) -> LimitCheck | None:
    """The first limit that is missed, else the first that could not be measured."""
    for verdict in (False, None):
        for check in record.limits:
            if check.kept is verdict:
                return check
    return None


def _is_about_host(record: TrialRecord) -> bool:
    """Which memory ran short: by the broken check, else by the margins predicted, else by words."""
    broken = next((c for c in record.limits if c.kept is False and "memory" in c.metric), None)
    if broken is not None:
        return not broken.metric.startswith("gpu")
    for name in ("gpu_margin_gib", "host_margin_gib"):
        if record.predicted.get(name, 0.0) < 0:
            return name.startswith("host")
    text = "" if record.outcome.failure is None else record.outcome.failure.message.lower()
    return "host" in text or "ram" in text.split()


def _clip(value: float) -> float:
    if math.isnan(value):
        return UNKNOWN
    return min(_CLIP, max(-_CLIP, value))
