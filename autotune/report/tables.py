"""The tables of a study, each built once and drawn anywhere (`report/table.py`)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.records import Configuration, Outcome, OutcomeStatus, Scalar, TrialRecord
from autotune.report.quantities import (
    DASH,
    NOT_MEASURED,
    Scale,
    change,
    display,
    heading,
    interval,
    scale_for,
    title,
)
from autotune.report.table import Cell, Column, Table, Tone
from autotune.spec.study import Objective

_STATUS_TONES: Final = {
    OutcomeStatus.MEASURED: Tone.GOOD,
    OutcomeStatus.INFEASIBLE: Tone.BAD,
    OutcomeStatus.FAILED: Tone.BAD,
    OutcomeStatus.SCREENED: Tone.MUTED,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of the recommendation.

    Attributes:
        parameter: Its engine-neutral name.
        value: What is recommended; None for the engine's default.
        default: The engine's default, as text; empty where it is not known.
        reason: Why, in one sentence.
    """

    parameter: str
    value: Scalar | None
    default: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CriterionRow:
    """One success criterion held against a figure.

    Attributes:
        name: What is asked for, for people ("TTFT at 8K").
        required: The bound, as text ("under 2 s").
        found: The figure, as text; empty if it was not measured.
        met: None where it was not measured.
        detail: What else there is to say.
    """

    name: str
    required: str
    found: str = ""
    met: bool | None = None
    detail: str = ""


def any_simulated(records: Sequence[TrialRecord]) -> bool:
    """Whether a table over these records must be marked."""
    return any(record.simulated for record in records)


def outcome_text(outcome: Outcome) -> str:
    """How a trial ended, in two or three words: "measured", "infeasible: gpu oom warmup"."""
    if outcome.failure is None:
        return outcome.status.value
    return f"{outcome.status.value}: {outcome.failure.kind.value.replace('_', ' ')}"


def configuration_text(
    configuration: Configuration, *, against: Configuration | None = None
) -> str:
    """Settings in one line; only those that differ where a reference is given."""
    if against is None:
        return str(configuration)
    mine, other = configuration.values, against.values
    changed = [f"{n}={mine[n]}" for n in mine if n not in other or other[n] != mine[n]]
    changed += [f"{name} back to default" for name in other if name not in mine]
    return ", ".join(changed) or "the same settings"


def trials_table(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    front: Collection[int] = (),
    recommended: int | None = None,
    baseline: TrialRecord | None = None,
) -> Table:
    """Every trial: number, why it ran, objectives, outcome, configuration.

    Args:
        records: In the order to show.
        objectives: One column each.
        front: Numbers of the trials of the Pareto front, marked with a star.
        recommended: Its number, in bold.
        baseline: Configurations are told by how they differ from its own.
    """
    scales = [scale_for(o.metric, (r.metrics.get(o.metric) for r in records)) for o in objectives]
    reference = None if baseline is None else baseline.configuration
    rows = []
    for record in records:
        tone = Tone.STRONG if record.number == recommended else Tone.PLAIN
        mark = "★" if record.number in front else ""
        cells = [
            Cell.of(f"{record.number}{mark}", tone),
            Cell.of(record.label or record.kind.value),
        ]
        cells += [
            Cell.of(_number(scale, record.metrics.get(objective.metric)), tone)
            for objective, scale in zip(objectives, scales, strict=True)
        ]
        cells.append(Cell.of(outcome_text(record.outcome), _STATUS_TONES[record.outcome.status]))
        cells.append(Cell.of(configuration_text(record.configuration, against=reference)))
        rows.append(tuple(cells))
    return Table(
        title="Trials",
        columns=(
            Column(head="#", align="right"),
            Column(head="kind"),
            *(
                Column(head=heading(o.metric, scale), align="right")
                for o, scale in zip(objectives, scales, strict=True)
            ),
            Column(head="outcome", fold=True),
            Column(head="configuration" if baseline is None else "against the baseline", fold=True),
        ),
        rows=tuple(rows),
        notes=("★ on the Pareto front",) if front else (),
        simulated=any_simulated(records),
    )


def front_table(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    front: Collection[int],
    recommended: int | None = None,
    baseline: TrialRecord | None = None,
) -> Table:
    """The Pareto front, best of the first objective first, and the baseline below it."""
    by_number = {record.number: record for record in records}
    shown = [by_number[number] for number in front if number in by_number]
    shown.sort(key=lambda r: _sort_key(r, objectives[0]))
    extra = [] if baseline is None or baseline.number in front else [baseline]
    everything = [*shown, *extra]
    scales = [
        scale_for(o.metric, (r.metrics.get(o.metric) for r in everything)) for o in objectives
    ]
    rows = []
    for record in everything:
        name = f"{record.number}"
        name += " recommended" if record.number == recommended else ""
        name += " baseline" if baseline is not None and record.number == baseline.number else ""
        tone = Tone.STRONG if record.number == recommended else Tone.PLAIN
        figures = [
            Cell.of(_number(scale, record.metrics.get(o.metric)), tone)
            for o, scale in zip(objectives, scales, strict=True)
        ]
        against = None if record is baseline or baseline is None else baseline.configuration
        settings = Cell.of(configuration_text(record.configuration, against=against))
        rows.append((Cell.of(name, tone), *figures, settings))
    arrows = ["↑" if o.direction == "maximize" else "↓" for o in objectives]
    return Table(
        title="Pareto front",
        columns=(
            Column(head="trial"),
            *(
                Column(head=f"{heading(o.metric, scale)} {arrow}", align="right")
                for o, scale, arrow in zip(objectives, scales, arrows, strict=True)
            ),
            Column(head="configuration", fold=True),
        ),
        rows=tuple(rows),
        notes=("No trial of the front is beaten by another in every objective.",),
        simulated=any_simulated(everything),
    )


def _number(scale: Scale, value: float | None) -> str:
    """A figure under a head that carries the unit."""
    return DASH if value is None else scale.number(value)


def _sort_key(record: TrialRecord, objective: Objective) -> float:
    value = record.metrics.get(objective.metric)
    if value is None:
        return float("inf")
    return -value if objective.direction == "maximize" else value


def criteria_table(criteria: Sequence[CriterionRow], *, simulated: bool = False) -> Table:
    """Success criteria: met, not met or not measured, with figures."""
    words = {
        True: Cell("met", Tone.GOOD),
        False: Cell("not met", Tone.BAD),
        None: Cell(NOT_MEASURED, Tone.MUTED),
    }
    return Table(
        title="Success criteria",
        columns=(
            Column(head="criterion"),
            Column(head="required"),
            Column(head="found", fold=True),
            Column(head=""),
        ),
        rows=tuple(
            (
                Cell.of(c.name),
                Cell.of(c.required),
                Cell.of(" · ".join(part for part in (c.found, c.detail) if part) or DASH),
                words[c.met],
            )
            for c in criteria
        ),
        simulated=simulated,
    )


def settings_table(settings: Sequence[Setting], *, simulated: bool = False) -> Table:
    """The recommended settings against the engine's defaults, with the reason for each."""
    rows = []
    for setting in settings:
        value = "engine's default" if setting.value is None else str(setting.value)
        rows.append((
            Cell.of(setting.parameter),
            Cell.of(value, Tone.STRONG if setting.value is not None else Tone.MUTED),
            Cell.of(setting.default or DASH, Tone.MUTED),
            Cell.of(setting.reason or DASH),
        ))  # fmt: skip
    return Table(
        title="Recommended settings",
        columns=(
            Column(head="setting"),
            Column(head="recommended"),
            Column(head="engine's default"),
            Column(head="why", fold=True),
        ),
        rows=tuple(rows),
        notes=() if rows else ("Nothing to change: the engine's defaults are recommended.",),
        simulated=simulated,
    )


def comparison_table(
    tags: Sequence[str],
    recommended: Mapping[str, float | None],
    baseline: Mapping[str, float | None],
    *,
    intervals: Mapping[str, tuple[float | None, float | None]] | None = None,
    names: tuple[str, str] = ("recommended", "baseline"),
    simulated: bool = False,
) -> Table:
    """Two sets of metrics side by side, with the change and, where known, its interval.

    Args:
        tags: Metrics to show, in order; those that neither side measured are left out.
        recommended: Raw values.
        baseline: Raw values.
        intervals: Raw ends of an interval of the recommended value.
        names: Heads of the two columns.
        simulated: Whether the figures are.
    """
    rows = []
    for tag in tags:
        mine, other = recommended.get(tag), baseline.get(tag)
        if mine is None and other is None:
            continue
        scale = scale_for(tag, (mine, other))
        spread = interval(tag, *(intervals or {}).get(tag, (None, None)))
        rows.append((
            Cell.of(title(tag)),
            Cell.of(scale.text(mine), Tone.STRONG),
            Cell.of(spread or DASH, Tone.MUTED),
            Cell.of(scale.text(other)),
            Cell.of(change(mine, other)),
        ))  # fmt: skip
    return Table(
        title=f"{names[0].capitalize()} against {names[1]}",
        columns=(
            Column(head="metric"),
            Column(head=names[0], align="right"),
            Column(head="interval", align="right"),
            Column(head=names[1], align="right"),
            Column(head="change", align="right"),
        ),
        rows=tuple(rows),
        simulated=simulated,
    )


def metrics_table(record: TrialRecord) -> Table:
    """Every metric of one trial."""
    return Table(
        title=f"Trial {record.number}",
        columns=(Column(head="metric"), Column(head="value", align="right"), Column(head="probe")),
        rows=tuple(
            (Cell.of(title(tag)), Cell.of(display(tag, value, missing=NOT_MEASURED)), Cell.of(tag))
            for tag, value in record.metrics.items()
        ),
        simulated=record.simulated,
    )
