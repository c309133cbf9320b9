"""Trials of one configuration taken together, and what everything is compared with."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from autotune.analysis.limits import Slack, keeps_limits, mean_of, missed_a_limit
from autotune.analysis.renamed import Renamed
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import Objective

UTILIZATION: Final = "gpu_memory_utilization"
"""The share of the card that the engine plans with: what a default over a memory bound is lowered
in."""
PROVING: Final = frozenset({TrialKind.FINALIST, TrialKind.ABLATION})
"""Kinds of trials that were deployed to prove a configuration, after it had been picked."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every trial of a configuration that was measured whole.

    Attributes:
        records: In the order of their numbers; some may have missed a limit that the mean keeps.
        rows: Of each record, the logarithm of each objective's metric.
        stand_in: What stands for it where none of the records was asked for by its name.
    """

    configuration: Configuration
    records: tuple[TrialRecord, ...]
    rows: tuple[tuple[float, ...], ...]
    stand_in: TrialRecord | None = None

    @cached_property
    def logs(self) -> tuple[float, ...]:
        """Per objective, the mean of the metric's logarithm (a geometric mean)."""
        columns = zip(*self.rows, strict=True)
        return tuple(math.fsum(column) / len(self.rows) for column in columns)

    @cached_property
    def latest(self) -> TrialRecord:
        """The last trial that was asked for by this name, of those that kept every limit if any.

        Its number is what is exported, and the files hold the flags as they were asked for.
        """
        asked = [r for r in self.records if not isinstance(r, Renamed)]
        if not asked:
            return self.stand_in or self.records[-1]
        return next((r for r in reversed(asked) if r.is_feasible), asked[-1])

    @property
    def values(self) -> tuple[float, ...]:
        """Geometric means, raw units."""
        return tuple(math.exp(value) for value in self.logs)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its trials."""
        return tuple(record.number for record in self.records)


def grouped(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    slack: Slack = lambda _metric, _trials: 0.0,
) -> tuple[Measured, ...]:
    """Configurations that keep every limit by the mean of their trials, each objective measured.

    The mean, for near a limit the noise decides whether a trial keeps it: who left out those that
    missed it would flatter what is left, and who counted them would lose a default that is fine.
    A configuration that broke down as often as it was measured is no candidate: it is not stable.
    """
    by_configuration: dict[Configuration, list[TrialRecord]] = {}
    for record in records:
        by_configuration.setdefault(record.configuration, []).append(record)
    found = []
    for configuration, group in by_configuration.items():
        rows = [(r, row) for r in group if (row := _log_row(r, objectives)) is not None]
        measured = [r for r, _ in rows]
        broken = sum(r.outcome.status is OutcomeStatus.INFEASIBLE for r in group) - sum(
            not r.is_feasible for r in measured
        )
        if len(rows) > broken and keeps_limits(measured, slack=slack):
            found.append(
                Measured(
                    configuration=configuration,
                    records=tuple(measured),
                    rows=tuple(row for _, row in rows),
                )
            )
    return tuple(found)


def proofs(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], *, repeats: int
) -> tuple[Measured, ...]:
    """Finalists, and what ablation left of them, by the trials that were deployed for it.

    Empty until two finalists were measured at least twice. What ablation made counts once it was
    measured twice too; what is recommended is then measured as often as a finalist.
    """
    proved = grouped([r for r in records if r.kind is TrialKind.FINALIST], objectives)
    finalists = {m.configuration for m in proved if len(m.records) > 1}
    if len(finalists) < 2:
        return ()
    return tuple(
        _named(m, records, objectives)
        for m in grouped([r for r in records if r.kind in PROVING], objectives)
        if m.configuration in finalists or len(m.records) >= enough_left(repeats)
    )


def enough_left(repeats: int) -> int:
    """Trials after which what is left of a finalist is judged."""
    return min(2, repeats)


def fairly(group: Measured, objectives: Sequence[Objective]) -> Measured:
    """A configuration by its proving trials alone where it has some.

    The search's own measurement of a winner flatters it, for it was picked because it was high.
    """
    proving = grouped([r for r in group.records if r.kind in PROVING], objectives)
    return _named(proving[0], group.records, objectives) if proving else group


def _named(
    proving: Measured, records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> Measured:
    """With another trial to stand for it where every proof was asked for by another name."""
    if not isinstance(proving.latest, Renamed):
        return proving
    same = [r for r in records if r.configuration == proving.configuration
            and not isinstance(r, Renamed)]  # fmt: skip
    found = grouped(same, objectives)
    return replace(proving, stand_in=found[0].latest) if found else proving


def repeats_of(records: Sequence[TrialRecord], record: TrialRecord) -> tuple[TrialRecord, ...]:
    """Trials that tell a configuration's figures: its proofs, else all that are feasible.

    One that missed a limit which the mean keeps tells as much as the others. A configuration
    without a feasible trial has only the one that stands for it.
    """
    same = [r for r in records if r.configuration == record.configuration
            and (r.is_feasible or missed_a_limit(r))]  # fmt: skip
    if not keeps_limits(same):
        same = [r for r in same if r.is_feasible]
    proving = [r for r in same if r.kind in PROVING]
    return tuple(proving or same or [record])


def over_repeats(records: Sequence[TrialRecord], record: TrialRecord, metric: str) -> float | None:
    """Mean of a metric over a configuration's repeats; its own figure where there are no two.

    Single trials of one configuration differ by a tenth and more.
    """
    measured = (r.metrics.get(metric) for r in repeats_of(records, record))
    values = [value for value in measured if value is not None]
    return mean_of(values) if len(values) > 1 else record.metrics.get(metric)


def baseline_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """What everything is compared with; None if the baseline was never measured.

    The last feasible trial of the baseline's configuration (a repeat among the finalists counts,
    so that it has been started as often as what it is compared with), else of its repair, else the
    last trial of it that was measured although it missed a limit: a default that takes too much
    memory is no candidate, and still what the user has today.
    """
    tried = [r for r in records if r.kind is TrialKind.BASELINE]
    if not tried:
        return None
    feasible = [r for r in records if r.is_feasible]
    for record in reversed(tried):
        same = [r for r in feasible if r.configuration == record.configuration]
        if record.is_feasible or (same and record is tried[-1]):
            return same[-1]
    wanted = _repairs(records, tried)
    measured = [r for r in tried if any(value is not None for value in r.metrics.values())]
    found = (
        [r for r in feasible if r.configuration in wanted]
        or _lowered(feasible, {r.configuration for r in tried} | wanted)
        or measured
    )
    return found[-1] if found else None


def log_of(record: TrialRecord, tag: str) -> float | None:
    """Logarithm of a metric; None where it was not measured or has none."""
    value = record.metrics.get(tag)
    return math.log(value) if value is not None and 0 < value < math.inf else None


def logs_of(records: Sequence[TrialRecord], tag: str) -> list[float]:
    """Logarithms of a metric where it was measured and has one."""
    return [log for record in records if (log := log_of(record, tag)) is not None]


def logs_by_configuration(
    records: Sequence[TrialRecord], tag: str
) -> dict[Configuration, list[float]]:
    """Logarithms of a metric over the feasible trials of each configuration that has some."""
    found: dict[Configuration, list[float]] = {}
    for record in records:
        log = log_of(record, tag) if record.is_feasible else None
        if log is not None:
            found.setdefault(record.configuration, []).append(log)
    return found


def differences(one: Configuration, other: Configuration) -> tuple[str, ...]:
    """Parameters on which two configurations differ."""
    mine, theirs = one.values, other.values
    return tuple(n for n in sorted({*mine, *theirs}) if mine.get(n) != theirs.get(n))


def _repairs(records: Sequence[TrialRecord], tried: Iterable[TrialRecord]) -> set[Configuration]:
    """What the engine's own texts made of the baseline."""
    wanted = {r.configuration for r in tried}
    found: set[Configuration] = set()
    for record in records:
        failure = record.outcome.failure
        if record.configuration in wanted and failure is not None and failure.repair:
            found.add(record.configuration.updated(failure.repair))
    return found


def _lowered(
    feasible: Sequence[TrialRecord], defaults: Iterable[Configuration]
) -> list[TrialRecord]:
    """Trials of a default but for a lower share of the card: those of the highest that fits."""
    found: dict[float, list[TrialRecord]] = {}
    for record in feasible:
        share = record.configuration.get(UTILIZATION)
        if isinstance(share, int | float) and any(
            differences(record.configuration, default) == (UTILIZATION,) for default in defaults
        ):
            found.setdefault(float(share), []).append(record)
    return found[max(found)] if found else []


def _log_row(record: TrialRecord, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Logarithms of the objectives; None for what broke down or has no value of one of them."""
    if not (record.is_feasible or missed_a_limit(record)):
        return None
    row = []
    for objective in objectives:
        value = record.metrics.get(objective.metric)
        if value is None or not math.isfinite(value) or value <= 0:
            return None
        row.append(math.log(value))
    return tuple(row)
