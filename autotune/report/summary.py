"""The head of a report: what it is about, the objectives' figures, recommended against baseline."""

from dataclasses import dataclass

from autotune.report.findings import Findings
from autotune.report.quantities import change, display, title
from autotune.report.table import Table, Tone
from autotune.report.tables import change_tone, comparison_table
from autotune.report.untrusted import one_line


@dataclass(frozen=True, kw_only=True)
class Card:
    """An objective's figure at the top of the page."""

    name: str
    figure: str
    change: str
    tone: str
    baseline: str


def comparison_of(findings: Findings) -> Table | None:
    """The recommended trial against the baseline; None if they are one, or one is missing."""
    chosen, baseline = findings.chosen, findings.baseline
    if chosen is None or baseline is None or chosen.configuration == baseline.configuration:
        return None
    return comparison_table(
        findings.headline_tags,
        chosen.metrics,
        baseline.metrics,
        intervals=findings.intervals(),
        floors={tag: noise.floor for tag, noise in findings.noise.items()},
        unlike=() if findings.recommendation is None else findings.recommendation.unlike,
        simulated=findings.simulated,
    )


def cards(findings: Findings) -> tuple[Card, ...]:
    """The objectives of the recommended trial."""
    chosen, baseline = findings.chosen, findings.baseline
    found = []
    for objective in findings.spec.objectives if chosen is not None else ():
        tag = objective.metric
        value = None if chosen is None else chosen.metrics.get(tag)
        other = None if baseline is None else baseline.metrics.get(tag)
        tone = change_tone(tag, value, other, findings.noise[tag].floor)
        found.append(
            Card(
                name=title(tag),
                figure=display(tag, value),
                change="" if other is None else change(value, other),
                tone=tone.value if tone is not Tone.PLAIN else "muted",
                baseline="" if other is None else f"against {display(tag, other)}",
            )
        )
    return tuple(found)


def facts(findings: Findings) -> tuple[str, ...]:
    """One line about the study: model, GPU, engine, trials, date."""
    records = findings.records
    environment = records[-1].environment if records else {}
    engine = f"{environment.get('engine', '')} {environment.get('engine_release', '')}".strip()
    measured = sum(record.is_measured for record in records)
    parts = [
        findings.spec.model,
        environment.get("gpu", ""),
        engine,
        f"{len(records)} trials, {measured} feasible",
        records[0].wall_start[:10] if records else "",
    ]
    return tuple(one_line(part) for part in parts if part)
