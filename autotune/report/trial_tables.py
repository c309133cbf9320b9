"""Tables of trials: all of them, and the front."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.records import Configuration, OutcomeStatus, TrialRecord
from autotune.report.brief import brief_outcome, brief_settings, legend
from autotune.report.quantities import (
    DASH,
    ESTIMATE,
    Scale,
    heading,
    scale_for,
)
from autotune.report.table import Cell, Column, Table, Tone
from autotune.report.tables import ESTIMATED, any_simulated, configuration_text, outcome_text
from autotune.spec.study import Objective

_STATUS_TONES: Final = {
    OutcomeStatus.MEASURED: Tone.GOOD,
    OutcomeStatus.INFEASIBLE: Tone.BAD,
    OutcomeStatus.FAILED: Tone.BAD,
    OutcomeStatus.SCREENED: Tone.MUTED,
}

_MEANS: Final = (
    "A row is a configuration: the last of its n trials, and their means. Where trials were "
    "deployed to prove it, n counts those alone. "
    "No row of the front is beaten by another one in every objective."
)
_OFF_THE_FRONT: Final = (
    "The recommended one is not on it; why those that are were passed over stands below."
)

Estimates = Mapping[str, Collection[int]]
"""Metric to the numbers of the trials whose figure was computed."""

_BRIEF_WIDTH: Final = 11
"""Of an objective's column where a table must fit 80 columns."""


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """The objectives' columns over some trials: one unit per column."""

    objectives: tuple[Objective, ...]
    scales: tuple[Scale, ...]
    estimates: Estimates

    @classmethod
    def of(
        cls,
        records: Sequence[TrialRecord],
        objectives: Sequence[Objective],
        estimates: Estimates | None,
    ) -> "_Figures":
        scales = [scale_for(o.metric, (r.metrics.get(o.metric) for r in records))
                  for o in objectives]  # fmt: skip
        return cls(objectives=tuple(objectives), scales=tuple(scales), estimates=estimates or {})

    def columns(self, *, most: int | None, arrows: bool = False) -> tuple[Column, ...]:
        """Heads with units, and with an arrow towards better."""
        found = []
        for objective, scale in zip(self.objectives, self.scales, strict=True):
            arrow = "↑" if objective.direction == "maximize" else "↓"
            head = heading(objective.metric, scale) + (f" {arrow}" if arrows else "")
            found.append(Column(head=head, align="right", most=most))
        return tuple(found)

    def cells(self, record: TrialRecord, tone: Tone) -> tuple[Cell, ...]:
        """Figures under heads that carry the unit."""
        return tuple(
            Cell.of(self._text(record, objective.metric, scale), tone)
            for objective, scale in zip(self.objectives, self.scales, strict=True)
        )

    def _text(self, record: TrialRecord, tag: str, scale: Scale) -> str:
        value = record.metrics.get(tag)
        if value is None:
            return DASH
        is_estimate = record.number in self.estimates.get(tag, ())
        return f"{ESTIMATE if is_estimate else ''}{scale.number(value)}"

    def notes(self, records: Sequence[TrialRecord]) -> tuple[str, ...]:
        """What the sign before a figure means, where one is shown."""
        shown = {r.number for r in records}
        marked = any(shown & set(self.estimates.get(o.metric, ())) for o in self.objectives)
        return (ESTIMATED,) if marked else ()


def trials_table(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    front: Collection[int] = (),
    recommended: int | None = None,
    baseline: TrialRecord | None = None,
    estimates: Estimates | None = None,
    brief: bool = False,
) -> Table:
    """Every trial: number, why it ran, objectives, outcome, configuration.

    Args:
        records: In the order to show.
        objectives: One column each.
        front: Numbers of the trials of the Pareto front, marked with a star.
        recommended: Its number, in bold.
        baseline: Configurations are told by how they differ from its own.
        estimates: Figures that were computed, which get a sign.
        brief: For 80 columns: short names of settings and outcomes, with a legend.
    """
    reference = None if baseline is None else baseline.configuration
    figures = _Figures.of(records, objectives, estimates)
    row: Callable[..., tuple[Cell, ...]] = _brief_row if brief else _row
    rows = []
    for record in records:
        tone = Tone.STRONG if record.number == recommended else Tone.PLAIN
        number = f"{record.number}{'★' if record.number in front else ''}"
        rows.append(row(record, number, figures.cells(record, tone), reference, tone))
    notes = ["★ on the Pareto front, by the mean of its configuration's trials"] if front else []
    notes += figures.notes(records)
    notes += [text] if brief and (text := legend(r.configuration for r in records)) else []
    return Table(
        title="Trials",
        columns=_columns(figures, brief=brief, is_compared=baseline is not None),
        rows=tuple(rows),
        notes=tuple(notes),
        trials=tuple(record.number for record in records),
        simulated=any_simulated(records),
    )


def _columns(figures: _Figures, *, brief: bool, is_compared: bool) -> tuple[Column, ...]:
    settings = Column(head="against the baseline" if is_compared else "configuration", fold=True)
    if brief:
        return (Column(head="trial"), *figures.columns(most=_BRIEF_WIDTH), settings)
    return (
        Column(head="#", align="right"),
        Column(head="kind"),
        *figures.columns(most=None),
        Column(head="outcome", fold=True),
        settings,
    )


def _row(
    record: TrialRecord,
    number: str,
    figures: tuple[Cell, ...],
    reference: Configuration | None,
    tone: Tone,
) -> tuple[Cell, ...]:
    return (
        Cell.of(number, tone),
        Cell.of(record.label or record.kind.value),
        *figures,
        Cell.of(outcome_text(record.outcome), _STATUS_TONES[record.outcome.status]),
        Cell.of(configuration_text(record.configuration, against=reference)),
    )


def _brief_row(
    record: TrialRecord,
    number: str,
    figures: tuple[Cell, ...],
    reference: Configuration | None,
    tone: Tone,
) -> tuple[Cell, ...]:
    """Settings in short names, and before them what went wrong."""
    settings = brief_settings(record.configuration, reference)
    status = Tone.PLAIN
    if record.outcome.failure is not None:
        settings = f"{brief_outcome(record.outcome)}: {settings}"
        status = _STATUS_TONES[record.outcome.status]
    kind = record.label or record.kind.value
    return (Cell.of(f"{number} {kind}", tone), *figures, Cell.of(settings, status))


def front_table(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    front: Collection[int],
    repeats: Mapping[int, int] | None = None,
    recommended: int | None = None,
    baseline: TrialRecord | None = None,
    estimates: Estimates | None = None,
    brief: bool = False,
) -> Table:
    """The Pareto front, best of the first objective first; below it recommendation and baseline.

    Args:
        records: One per configuration, its objectives' figures being means.
        objectives: One column each.
        front: Numbers of those on the front.
        repeats: Number to the trials that the means are of; one where it is not named.
        recommended: Number of what is recommended.
        baseline: What configurations are told against.
        estimates: Figures that were computed, in part at least, which get a sign.
        brief: For 80 columns: short names of settings.
    """
    by_number = {record.number: record for record in records}
    shown = [by_number[number] for number in front if number in by_number]
    shown.sort(key=lambda r: _sort_key(r, objectives[0]))
    aside = [by_number[recommended]] if recommended in by_number.keys() - set(front) else []
    is_off = bool(aside)
    if baseline is not None and baseline.number not in {r.number for r in (*shown, *aside)}:
        aside.append(baseline)
    everything = [*shown, *aside]
    figures = _Figures.of(everything, objectives, estimates)
    rows = []
    for record in everything:
        is_baseline = baseline is not None and record.number == baseline.number
        name = f"{record.number}"
        name += " recommended" if record.number == recommended else ""
        name += " baseline" if is_baseline else ""
        tone = Tone.STRONG if record.number == recommended else Tone.PLAIN
        against = None if baseline is None or is_baseline else baseline.configuration
        rows.append((
            Cell.of(name, tone),
            Cell.of((repeats or {}).get(record.number, 1), Tone.MUTED),
            *figures.cells(record, tone),
            _settings(record, against, brief=brief),
        ))  # fmt: skip
    return Table(
        title="Pareto front",
        columns=(
            Column(head="trial"),
            Column(head="n", align="right"),
            *figures.columns(most=_BRIEF_WIDTH if brief else None, arrows=True),
            Column(head="configuration", fold=True),
        ),
        rows=tuple(rows),
        notes=(_MEANS, *figures.notes(everything), *([_OFF_THE_FRONT] if is_off else [])),
        trials=tuple(record.number for record in everything),
        simulated=any_simulated(everything),
    )


def _settings(record: TrialRecord, against: Configuration | None, *, brief: bool) -> Cell:
    if brief:
        return Cell.of(brief_settings(record.configuration, against))
    return Cell.of(configuration_text(record.configuration, against=against))


def _sort_key(record: TrialRecord, objective: Objective) -> float:
    value = record.metrics.get(objective.metric)
    if value is None:
        return float("inf")
    return -value if objective.direction == "maximize" else value
