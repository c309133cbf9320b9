"""Naming a failure: a pure function over evidence, so that stored trials can be named again.

The engine's own texts come first, for they hold the root cause and its numbers. What they leave
open is named by how the process ended and by where in the trial it happened.
"""

import signal
from typing import Final

from autotune.records import Failure, FailureKind, Outcome, OutcomeStatus
from autotune.seams.engine import Engine, Evidence
from autotune.trial.evidence import last_lines

_K = FailureKind

NOT_THE_CONFIGURATIONS_FAULT: Final = frozenset({
    _K.GPU_MEMORY_TAKEN, _K.MODEL_MISSING, _K.MODEL_GATED, _K.PORT_IN_USE, _K.DRIVER_TOO_OLD,
    _K.NO_GPU, _K.KILLED_FROM_OUTSIDE, _K.CLIENT_BOUND, _K.DEPLOYER_FAULT, _K.AUTOTUNE_FAULT,
    _K.INTERRUPTED,
})  # fmt: skip
"""Kinds after which the same configuration may be tried again."""

_KERNEL_OOM: Final = "OOM killer"
"""What a deployer's detail says where the kernel itself ran out of memory."""

NEVER_STARTED: Final = frozenset({_K.WOULD_NOT_FIT, _K.ILLEGAL})
"""Kinds of screening."""


def outcome_of(failure: Failure | None) -> Outcome:
    """How a trial ended, given what failed; None means nothing did."""
    if failure is None:
        return Outcome(status=OutcomeStatus.MEASURED)
    if failure.kind in NEVER_STARTED:
        return Outcome(status=OutcomeStatus.SCREENED, failure=failure)
    if failure.kind in NOT_THE_CONFIGURATIONS_FAULT:
        return Outcome(status=OutcomeStatus.FAILED, failure=failure)
    return Outcome(status=OutcomeStatus.INFEASIBLE, failure=failure)


def classify(evidence: Evidence, engine: Engine) -> Failure:
    """Name what went wrong.

    Args:
        evidence: All there is.
        engine: Whose texts may tell.
    """
    return (
        _by_deployer(evidence)
        or engine.explain(evidence)
        or _by_exit(evidence)
        or _by_phase(evidence)
    )


def _by_deployer(evidence: Evidence) -> Failure | None:
    """What broke under the engine: its last words (a traceback of SIGTERM) only follow from it."""
    ended = evidence.exit
    if ended is None or not ended.deployer_fault or ended.stopped_by_us or ended.oom_killed:
        return None
    shown = (_exit_line(evidence), *last_lines(evidence.log, 5))
    return Failure(kind=_K.DEPLOYER_FAULT, phase=evidence.phase, evidence=shown,
                   message=ended.detail or "the deployer lost the engine")  # fmt: skip


def _by_exit(evidence: Evidence) -> Failure | None:
    ended = evidence.exit
    if ended is None or ended.stopped_by_us:
        return None
    shown = (_exit_line(evidence), *last_lines(evidence.log, 5))
    if ended.oom_killed:
        return Failure(kind=_K.CONTAINER_OOM, phase=evidence.phase, evidence=shown,
                       message="the memory limit of its trial ended the engine")  # fmt: skip
    if _KERNEL_OOM in ended.detail:
        return Failure(kind=_K.HOST_OOM, phase=evidence.phase, evidence=shown,
                       message=ended.detail)  # fmt: skip
    # 137 is how a shell and Docker report SIGKILL. Nobody but the kernel's OOM killer or another
    # user sends it, for autotune marks what it ends itself.
    if ended.signal == signal.SIGKILL or ended.exit_code in {-signal.SIGKILL, 137}:
        return Failure(kind=_K.KILLED_FROM_OUTSIDE, phase=evidence.phase, evidence=shown,
                       message="the engine was killed from outside (SIGKILL)")  # fmt: skip
    return None


def _by_phase(evidence: Evidence) -> Failure:
    shown = tuple(line for line in (_exit_line(evidence), evidence.detail,
                                    *last_lines(evidence.log, 8)) if line)  # fmt: skip
    if evidence.exit is None:
        kind = _K.HUNG if evidence.healthy_once else _K.START_TIMEOUT
        message = evidence.detail or "the engine did not answer in time"
    elif evidence.healthy_once:
        kind, message = _K.DIED_UNDER_LOAD, "the engine died while it was being measured"
    else:
        kind, message = _K.CRASHED_AT_START, "the engine died before it was ready"
    return Failure(kind=kind, phase=evidence.phase, message=message, evidence=shown)


def _exit_line(evidence: Evidence) -> str:
    ended = evidence.exit
    if ended is None:
        return ""
    parts = [f"exit code {ended.exit_code}"] if ended.exit_code is not None else []
    parts += [f"signal {ended.signal}"] if ended.signal is not None else []
    parts += [ended.detail] if ended.detail else []
    return ", ".join(parts) or "ended in an unknown way"
