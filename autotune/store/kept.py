"""What of a record stays in the memory of a study that runs; the whole of it is on disk.

A study may run over a weekend, hundreds of trials long. The search looks at how trials ended and
at their figures; samples, notes, evidence and command lines are for whoever reads a trial later.
What most trials have alike (where they ran, that a probe was measured) is held once for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from autotune.records import (
    Applied,
    Outcome,
    OutcomeStatus,
    PhaseSpan,
    ProbeResult,
    ProbeStatus,
    TrialRecord,
)
from autotune.store.compact import compact


def kept(record: TrialRecord) -> TrialRecord:
    """A record without what only readers want; a sixth of its size.

    The probes keep their state and, from the baseline, the answers that later trials are held
    against; the phases become one, which lasts as long.
    """
    return replace(
        record,
        outcome=_kept_outcome(record.outcome),
        metrics=compact(record.metrics),
        probes=tuple(_kept_probe(probe) for probe in record.probes),
        constraints=compact(record.constraints),
        applied=_kept_applied(record.applied),
        ledger=None,
        predicted=compact(record.predicted),
        phases=_whole(record.phases),
        left_out=compact(record.left_out),
        command=(),
        environment=_alike(tuple(record.environment.items())),
        notes=(),
    )


def _kept_outcome(outcome: Outcome) -> Outcome:
    failure = outcome.failure
    if failure is None:
        return _outcome(outcome.status)
    failure = replace(failure, evidence=failure.evidence[:1], repair=compact(failure.repair))
    return replace(outcome, failure=failure)


def _kept_applied(applied: Applied | None) -> Applied | None:
    return None if applied is None else replace(applied, settings=compact(applied.settings))


def _kept_probe(probe: ProbeResult) -> ProbeResult:
    if probe.failure is None and not probe.reference and not probe.disturbed:
        return _state(probe.probe, probe.status)
    return ProbeResult(
        probe=probe.probe, status=probe.status, failure=probe.failure, reference=probe.reference,
        disturbed=probe.disturbed,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _outcome(status: OutcomeStatus) -> Outcome:
    """The one outcome of all trials that ended so without a failure."""
    return Outcome(status=status)


@lru_cache(maxsize=256)
def _state(probe: str, status: ProbeStatus) -> ProbeResult:
    """The one result of every probe that ended so and left nothing else to know."""
    return ProbeResult(probe=probe, status=status)


@lru_cache(maxsize=256)
def _alike(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The one mapping of all trials that ran in the same place."""
    return compact(dict(items))


def _whole(phases: Sequence[PhaseSpan]) -> tuple[PhaseSpan, ...]:
    if not phases:
        return ()
    start_ns = min(phase.start_ns for phase in phases)
    end_ns = max(phase.end_ns for phase in phases)
    return (PhaseSpan(name="trial", start_ns=start_ns, end_ns=end_ns),)
