"""What of a record stays in the memory of a study that runs; the whole of it is on disk.

A study may run over a weekend, hundreds of trials long. The search looks at how trials ended and
at their figures; samples, notes, evidence and command lines are for whoever reads a trial later.
"""

from collections.abc import Sequence
from dataclasses import replace

from autotune.records import PhaseSpan, ProbeResult, TrialRecord


def kept(record: TrialRecord) -> TrialRecord:
    """A record without what only readers want; a third of its size.

    The probes keep their state and, from the baseline, the answers that later trials are held
    against; the phases become one, which lasts as long.
    """
    failure = record.outcome.failure
    if failure is not None:
        failure = replace(failure, evidence=failure.evidence[:1])
    return replace(
        record,
        outcome=replace(record.outcome, failure=failure),
        probes=tuple(_kept_probe(probe) for probe in record.probes),
        phases=_whole(record.phases),
        command=(),
        notes=(),
    )


def _kept_probe(probe: ProbeResult) -> ProbeResult:
    return ProbeResult(
        probe=probe.probe, status=probe.status, failure=probe.failure, reference=probe.reference
    )


def _whole(phases: Sequence[PhaseSpan]) -> tuple[PhaseSpan, ...]:
    if not phases:
        return ()
    start_ns = min(phase.start_ns for phase in phases)
    end_ns = max(phase.end_ns for phase in phases)
    return (PhaseSpan(name="trial", start_ns=start_ns, end_ns=end_ns),)
