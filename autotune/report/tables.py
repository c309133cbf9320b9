"""The tables of a study, each built once and drawn anywhere (`report/table.py`)."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from autotune.analysis.criteria import Criterion, Verdict
from autotune.analysis.recommend import Recommendation
from autotune.metrics import METRICS, Direction, Unit
from autotune.records import Configuration, Outcome, TrialRecord
from autotune.report.quantities import (
    DASH,
    ESTIMATE,
    TIMES,
    change,
    display,
    interval,
    readable,
    scale_for,
    title,
)
from autotune.report.table import Cell, Column, Table, Tone
from autotune.seams.engine import Removal

_UNLIKE: Final = (
    "Not alike: a first start compiles kernels, unless another configuration left them behind."
)

ESTIMATED: Final = (
    f"{ESTIMATE} not measured: started for the first time only, and given as what a later start "
    "would hold, by the ratio of the baseline's two."
)

_CRITERIA: Final = {
    "stability": ("Stability", "no out-of-memory, no crash, no failed request"),
    "throughput": ("Throughput against baseline", "more than {}"),
    "ttft_8k": ("TTFT at 8K", "at most {}"),
    "gpu_memory": ("GPU memory under load", "at most {}"),
    "host_memory": ("Host memory under load", "at most {}"),
}
"""A criterion's name to its title and what is asked for, the bound in braces."""


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
    """Settings in one line; only those that differ where a reference is given.

    The engine's defaults and the reference itself go by their own names in every table.
    """
    if against is None or against == configuration or not configuration.items:
        return str(configuration)
    mine, other = configuration.values, against.values
    changed = [f"{n}={mine[n]}" for n in mine if n not in other or other[n] != mine[n]]
    changed += [f"{name} back to default" for name in other if name not in mine]
    return ", ".join(changed)


def criteria_table(criteria: Sequence[Criterion], *, simulated: bool = False) -> Table:
    """Success criteria: met, not met or not measured, with figures."""
    tones = {
        Verdict.MET: Tone.GOOD,
        Verdict.NOT_MET: Tone.BAD,
        Verdict.NOT_MEASURED: Tone.MUTED,
    }
    rows = []
    for criterion in criteria:
        name, required = _CRITERIA.get(criterion.name, (criterion.name, "{}"))
        rows.append((
            Cell.of(name),
            Cell.of(required.format(criterion_figure(criterion, criterion.bound))),
            Cell.of(criterion_found(criterion)),
            Cell(criterion.verdict.value, tones[criterion.verdict]),
        ))  # fmt: skip
    return Table(
        title="Success criteria",
        columns=(
            Column(head="criterion"),
            Column(head="required", fold=True),
            Column(head="found", fold=True),
            Column(head=""),
        ),
        rows=tuple(rows),
        simulated=simulated,
    )


def criterion_title(criterion: Criterion) -> str:
    """A criterion's name for people."""
    return _CRITERIA.get(criterion.name, (criterion.name.replace("_", " "), ""))[0]


def criterion_figure(criterion: Criterion, value: float | None) -> str:
    """A criterion's value or bound for people; throughput is held against as a factor."""
    if criterion.name == "throughput":
        return DASH if value is None else f"{value:.2f}{TIMES}"
    return display(criterion.metric, value)


def criterion_found(criterion: Criterion) -> str:
    """What was measured, with the figures behind it."""
    figures = dict(criterion.figures)
    if criterion.name == "stability":
        return criterion.text
    if criterion.value is None:
        return criterion.text or DASH
    found = criterion_figure(criterion, criterion.value)
    mine, theirs = figures.get("chosen"), figures.get("baseline")
    if mine is not None and theirs is not None:
        scale = scale_for(criterion.metric, (mine, theirs))
        found += f" ({scale.number(mine)} against {scale.text(theirs)})"
    return found


def settings_table(recommendation: Recommendation, *, simulated: bool = False) -> Table:
    """The recommended settings against the engine's defaults, with the reason for each."""
    rows = []
    for setting in recommendation.settings:
        changed = setting.value != setting.default
        default = DASH if setting.default is None else str(setting.default)
        lowered = recommendation.repaired.get(setting.parameter)
        if lowered is not None and lowered != setting.value:
            default += f" (baseline {lowered})"
        rows.append((
            Cell.of(setting.parameter),
            Cell.of(setting.value, Tone.STRONG if changed else Tone.PLAIN),
            Cell.of(default, Tone.MUTED),
            Cell.of(readable(setting.text) or DASH),
        ))  # fmt: skip
    return Table(
        title="Recommended settings",
        columns=(
            Column(head="setting"),
            Column(head="recommended"),
            Column(head="default"),
            Column(head="why", fold=True),
        ),
        rows=tuple(rows),
        notes=() if rows else ("Nothing to set: the engine's defaults are recommended.",),
        simulated=simulated,
    )


def removed_table(removed: Sequence[Removal], *, simulated: bool = False) -> Table:
    """What was taken out of the declared space, with the reason of each."""
    return Table(
        title="Taken out of the space",
        columns=(
            Column(head="parameter"),
            Column(head="value", fold=True, least=8),
            Column(head="why", fold=True),
        ),
        rows=tuple(
            (
                Cell.of(r.parameter),
                Cell.of("all of it" if r.value is None else r.value),
                Cell.of(r.reason),
            )
            for r in removed
        ),
        simulated=simulated,
    )


def comparison_table(
    tags: Sequence[str],
    recommended: Mapping[str, float | None],
    baseline: Mapping[str, float | None],
    *,
    intervals: Mapping[str, tuple[float | None, float | None]] | None = None,
    floors: Mapping[str, float] | None = None,
    unlike: Collection[str] = (),
    estimated: Collection[str] = (),
    notes: Sequence[str] = (),
    simulated: bool = False,
) -> Table:
    """Two sets of metrics side by side, with the change and, where known, its interval.

    Args:
        tags: Metrics to show, in order; those that neither side measured are left out.
        recommended: Raw values.
        baseline: Raw values.
        intervals: Raw ends of an interval of the recommended value; None for no such column.
        floors: Metric to the relative change under which nothing can be told from noise.
        unlike: Metrics that were not measured alike and must not be held against each other.
        estimated: Metrics of which the recommended value was computed and not measured.
        notes: What else is to be said of the figures.
        simulated: Whether the figures are.
    """
    rows = []
    for tag in tags:
        mine, other = recommended.get(tag), baseline.get(tag)
        if mine is None and other is None:
            continue
        scale = scale_for(tag, (mine, other))
        spread = "" if is_counted(tag) else interval(tag, *(intervals or {}).get(tag, (None, None)))
        rows.append((
            Cell.of(title(tag)),
            Cell.of(f"{ESTIMATE if tag in estimated else ''}{scale.text(mine)}", Tone.STRONG),
            *([] if intervals is None else [Cell.of(spread or DASH, Tone.MUTED)]),
            Cell.of(scale.text(other)),
            Cell.of("not alike", Tone.MUTED)
            if tag in unlike
            else _change(tag, mine, other, (floors or {}).get(tag)),
        ))  # fmt: skip
    return Table(
        title="Recommended against baseline",
        columns=(
            Column(head="metric"),
            Column(head="recommended", align="right"),
            *([] if intervals is None else [Column(head="interval", align="right")]),
            Column(head="baseline", align="right"),
            Column(head="change", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            *notes,
            *((_UNLIKE,) if set(unlike) & set(tags) else ()),
            *((ESTIMATED,) if set(estimated) & set(tags) else ()),
        ),
        simulated=simulated,
    )


def is_counted(tag: str) -> bool:
    """Whether a figure is counted and not timed: no interval of time's noise is drawn for it."""
    metric = METRICS.get(tag)
    if metric is None or metric.unit in {Unit.TOKENS, Unit.COUNT}:
        return metric is not None
    return metric.unit is Unit.RATIO and not tag.endswith("_speedup_ratio")


def _change(tag: str, mine: float | None, other: float | None, floor: float | None) -> Cell:
    text = change(mine, other)
    if mine is not None and mine == other:
        return Cell("the same", Tone.MUTED)
    tone = change_tone(tag, mine, other, floor)
    within = tone is Tone.MUTED and text != DASH
    return Cell(f"{text} (noise)" if within else text, tone)


def is_noise(value: float, reference: float, floor: float) -> bool:
    """Whether two means differ by less than the noise: the one rule of every table and sentence.

    Args:
        value: Raw.
        reference: Raw.
        floor: Smallest difference that counts between means over so many trials, as a logarithm
            (`analysis.noise.Noise.floor_of`).
    """
    return value == reference or (
        value * reference > 0 and abs(math.log(value / reference)) < floor
    )


def change_tone(
    tag: str, value: float | None, reference: float | None, floor: float | None
) -> Tone:
    """Better, worse, or muted where the change is within the noise or cannot be told."""
    if value is None or not reference:
        return Tone.MUTED
    ratio = value / reference
    if floor is not None and is_noise(value, reference, floor):
        return Tone.MUTED
    direction = METRICS[tag].direction if tag in METRICS else Direction.NEITHER
    if ratio == 1 or direction is Direction.NEITHER:
        return Tone.PLAIN
    return Tone.GOOD if (ratio > 1) == (direction is Direction.HIGHER) else Tone.BAD
