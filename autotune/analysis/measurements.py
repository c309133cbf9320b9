"""Trials of one configuration taken together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import Objective


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every feasible trial of a configuration.

    Attributes:
        records: In the order of their numbers.
        logs: Per objective, the mean of the metric's logarithm (a geometric mean).
    """

    configuration: Configuration
    records: tuple[TrialRecord, ...]
    logs: tuple[float, ...]

    @property
    def latest(self) -> TrialRecord:
        """The last trial."""
        return self.records[-1]

    @property
    def values(self) -> tuple[float, ...]:
        """Geometric means, raw units."""
        return tuple(math.exp(value) for value in self.logs)


def grouped(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[Measured, ...]:
    """Configurations that are feasible in most of their trials, with every objective measured.

    A configuration that failed as often as it was measured is no candidate: it is not stable.
    """
    by_configuration: dict[Configuration, list[TrialRecord]] = {}
    for record in records:
        by_configuration.setdefault(record.configuration, []).append(record)
    found = []
    for configuration, group in by_configuration.items():
        rows = [(r, row) for r in group if (row := _log_row(r, objectives)) is not None]
        if not rows or len(rows) <= sum(_is_bad(r) for r in group):
            continue
        columns = zip(*(row for _, row in rows), strict=True)
        found.append(
            Measured(
                configuration=configuration,
                records=tuple(r for r, _ in rows),
                logs=tuple(math.fsum(column) / len(rows) for column in columns),
            )
        )
    return tuple(found)


def proofs(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> tuple[Measured, ...]:
    """Finalists by their proofs alone; empty until two of them were measured at least twice."""
    found = grouped([r for r in records if r.kind is TrialKind.FINALIST], objectives)
    repeated = tuple(m for m in found if len(m.records) > 1)
    return repeated if len(repeated) > 1 else ()


def baseline_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """What everything is compared with; None if the baseline was never measured.

    The last feasible trial of the baseline, else of its repair, else the last one that was
    measured although it missed a limit: a default that takes too much memory is no candidate,
    and still what the user has today.
    """
    tried = [r for r in records if r.kind is TrialKind.BASELINE]
    for record in reversed(tried):
        if record.is_feasible:
            return record
    if not tried:
        return None
    wanted = {tried[-1].configuration}
    for record in tried:
        failure = record.outcome.failure
        if failure is not None and failure.repair:
            wanted.add(record.configuration.updated(failure.repair))
    same = [r for r in records if r.configuration in wanted and r.is_feasible]
    measured = [r for r in tried if any(value is not None for value in r.metrics.values())]
    found = same or measured
    return found[-1] if found else None


def _log_row(record: TrialRecord, objectives: Sequence[Objective]) -> list[float] | None:
    if not record.is_feasible:
        return None
    row = []
    for objective in objectives:
        value = record.metrics.get(objective.metric)
        if value is None or not math.isfinite(value) or value <= 0:
            return None
        row.append(math.log(value))
    return row


def _is_bad(record: TrialRecord) -> bool:
    return record.outcome.status is OutcomeStatus.INFEASIBLE
