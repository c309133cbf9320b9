"""What a trial's page in optuna-dashboard shows: scalars only, for it cuts anything else.

Numbers that people read are given in display units beside the raw ones.
"""

from pathlib import Path

from autotune.metrics import METRICS, Unit, metric_named
from autotune.paths import StudyPaths
from autotune.records import Scalar, TrialRecord
from autotune.spec.study import StudySpec

_DISPLAY: dict[Unit, tuple[str, str, float]] = {
    Unit.NS: ("_ns", "_ms", 1e-6),
    Unit.BYTES: ("_bytes", "_gib", 1 / 1024**3),
}
"""Raw suffix, suffix shown, factor."""


def displayed(tag: str, value: float) -> tuple[str, float]:
    """A metric under the name and in the unit that are shown: milliseconds and GiB."""
    metric = METRICS.get(tag)
    if metric is None or metric.unit not in _DISPLAY:
        return tag, float(value)
    raw, shown, factor = _DISPLAY[metric.unit]
    return tag.removesuffix(raw) + shown, value * factor


def objective_titles(spec: StudySpec) -> tuple[str, ...]:
    """Axis labels of the objectives."""
    titles = []
    for objective in spec.objectives:
        metric = metric_named(objective.metric)
        unit = _DISPLAY[metric.unit][1].removeprefix("_") if metric.unit in _DISPLAY else ""
        titles.append(f"{metric.title} [{unit or metric.unit.value}]")
    return tuple(titles)


def attributes_of(record: TrialRecord, root: Path | None = None) -> dict[str, Scalar]:
    """User attributes of a finished trial."""
    failure = record.outcome.failure
    found: dict[str, Scalar] = {
        "kind": record.kind.value,
        "outcome": record.outcome.status.value,
        "failure": "" if failure is None else failure.kind.value,
        "message": "" if failure is None else failure.message,
        "configuration": str(record.configuration),
        "simulated": record.simulated,
    }
    if record.label:
        found["label"] = record.label
    if root is not None:
        found["folder"] = str(StudyPaths(root).trial(record.number).root)
    for tag, value in record.metrics.items():
        if value is None:
            continue
        name, shown = displayed(tag, value)
        found[name] = shown
        found[tag] = float(value)
    return found
