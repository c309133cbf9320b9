"""What a study has come to: what it is about, its figures, and the tables made of its findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.analysis.measurements import repeats_of
from autotune.analysis.passed_over import PassedOver
from autotune.records import TrialKind, TrialRecord
from autotune.report.findings import Findings
from autotune.report.quantities import (
    ESTIMATE,
    change,
    display,
    readable,
    title,
    trials_text,
)
from autotune.report.table import Table, Tone
from autotune.report.tables import change_tone, comparison_table
from autotune.report.trial_tables import front_table, trials_table
from autotune.report.untrusted import one_line


@dataclass(frozen=True, kw_only=True)
class Card:
    """An objective's figure at the top of the page."""

    name: str
    figure: str
    change: str
    tone: str
    baseline: str


def trials_of(findings: Findings, *, brief: bool = False) -> Table:
    """Every trial; marked as simulated also where there is none yet.

    Figures are those that can be compared; a note says which are not as measured.
    """
    table = trials_table(
        findings.records,
        findings.spec.objectives,
        front=findings.front,
        recommended=None if findings.chosen is None else findings.chosen.number,
        baseline=findings.baseline,
        estimates=findings.estimates,
        brief=brief,
    )
    notes = (*table.notes, *map(str, findings.corrections))
    return replace(table, simulated=findings.simulated, notes=notes)


def front_of(findings: Findings, *, brief: bool = False) -> Table:
    """The Pareto front with recommendation and baseline."""
    chosen = findings.standing(findings.chosen)
    table = front_table(
        findings.plotted,
        findings.spec.objectives,
        front=findings.front,
        repeats=findings.repeats,
        recommended=None if chosen is None else chosen.number,
        baseline=findings.standing(findings.baseline),
        estimates=findings.estimated_points,
        brief=brief,
    )
    passed = () if findings.recommendation is None else findings.recommendation.passed
    return replace(table, simulated=findings.simulated, notes=(*table.notes, *passed_notes(passed)))


def passed_notes(passed: Sequence[PassedOver]) -> tuple[str, ...]:
    """Why points of the front are not recommended: a line each, those with one reason together."""
    by_text: dict[str, list[int]] = {}
    for point in passed:
        text = readable(point.text)
        text = text if text[1:2].isupper() else text[:1].lower() + text[1:]
        by_text.setdefault(text, []).append(point.number)
    told = [f"{', '.join(map(str, numbers))}: {text}" for text, numbers in by_text.items()]
    return ("Not recommended:", *told) if told else ()


def comparison_of(
    findings: Findings, tags: Sequence[str] | None = None, *, with_intervals: bool = True
) -> Table | None:
    """What is recommended against the baseline, by the means over the trials of each.

    None if they are one configuration, or one is missing.

    Args:
        findings: The study.
        tags: Metrics to show; None for the headlines.
        with_intervals: Whether there is room for them.
    """
    chosen, baseline = findings.chosen, findings.baseline
    if chosen is None or baseline is None or chosen.configuration == baseline.configuration:
        return None
    tags = findings.headline_tags if tags is None else tags
    return comparison_table(
        tags,
        {tag: findings.figure(chosen, tag) for tag in tags},
        {tag: findings.figure(baseline, tag) for tag in tags},
        intervals=findings.intervals() if with_intervals else None,
        floors={tag: findings.floor(tag) for tag in tags},
        unlike=() if findings.recommendation is None else findings.recommendation.unlike,
        estimated=[tag for tag in tags if findings.is_estimate(chosen, tag)],
        notes=_means(findings, chosen, baseline),
        simulated=findings.simulated,
    )


def _means(findings: Findings, chosen: TrialRecord, baseline: TrialRecord) -> tuple[str, ...]:
    """Which trials a figure is the mean of, where it is one."""
    groups = [repeats_of(findings.records, record) for record in (chosen, baseline)]
    if all(len(group) == 1 for group in groups):
        return ()
    mine, theirs = (", ".join(str(record.number) for record in group) for group in groups)
    alone = f"of the start-up, trials {chosen.number} and {baseline.number} alone"
    return (f"Means over the trials {mine} and, of the baseline, {theirs}; {alone}.",)


def cards(findings: Findings) -> tuple[Card, ...]:
    """The objectives of the recommended configuration."""
    chosen, baseline = findings.chosen, findings.baseline
    found = []
    for objective in findings.spec.objectives if chosen is not None else ():
        tag = objective.metric
        value, other = findings.figure(chosen, tag), findings.figure(baseline, tag)
        tone = change_tone(tag, value, other, findings.floor(tag))
        found.append(
            Card(
                name=title(tag),
                figure=f"{ESTIMATE if findings.is_estimate(chosen, tag) else ''}"
                f"{display(tag, value)}",
                change="" if other is None else change(value, other),
                tone=tone.value if tone is not Tone.PLAIN else "muted",
                baseline="" if other is None else f"against {display(tag, other)}",
            )
        )
    return tuple(found)


def facts(findings: Findings) -> tuple[str, ...]:
    """One line about the study: model, GPU, engine, trials, date."""
    records = findings.records
    # What was never started tells of no engine.
    environment = next((r.environment for r in reversed(records) if "engine" in r.environment), {})
    engine = f"{environment.get('engine', '')} {environment.get('engine_release', '')}".strip()
    measured = sum(record.is_measured for record in records)
    is_matrix = bool(records) and all(record.kind is TrialKind.MATRIX for record in records)
    parts = [
        findings.spec.model,
        environment.get("gpu", ""),
        engine,
        f"{trials_text(len(records))}, {measured} {'measured' if is_matrix else 'feasible'}",
        records[0].wall_start[:10] if records else "",
    ]
    return tuple(one_line(part) for part in parts if part)
