"""The report's sections, ready for the template: tables as values, plots as SVG."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from markupsafe import Markup

from autotune.analysis.effects import Effect, effects_by_parameter
from autotune.records import TrialRecord
from autotune.report.failures import value_order
from autotune.report.findings import Findings
from autotune.report.quantities import duration_text, gib_text, title
from autotune.report.svg.bars import GROUPS, group_of, seconds_by_phase, trial_columns
from autotune.report.svg.canvas import Size
from autotune.report.svg.forest import Panel, forest_plot, reach_of
from autotune.report.svg.memory import MemoryPanel, memory_plot
from autotune.report.svg.pareto import ParetoView, pareto_plot
from autotune.seams.telemetry import Sample
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB

_WIDE: Final = Size(width=880, height=400, css="wide")
_NARROW: Final = Size(width=360, height=320, css="narrow")
"""Each larger plot is drawn twice, for a desk and for a phone: scaled text would be unreadable."""

_MOST_VALUES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with its name for a tab."""

    name: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class ParameterEffects:
    """What the values of one parameter do.

    Attributes:
        shares: Objective's title to the parameter's importance for it, 0 to 1.
        plots: One per objective; none where no two configurations differ in it alone.
        left_out: Values that were tried too rarely to be shown.
    """

    name: str
    shares: Mapping[str, float]
    plots: tuple[Markup, ...]
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class PhaseTime:
    """Time that a phase took over the whole study."""

    name: str
    css: str
    text: str
    share: float


def both(draw: Callable[[Size], str], *, height: float | None = None) -> Markup:
    """A plot for a desk and one for a phone, of which the page shows one."""
    sizes = [size if height is None else replace(size, height=height) for size in (_WIDE, _NARROW)]
    return Markup("".join(map(draw, sizes)))  # noqa: S704 - Canvas escapes every text in it


def pareto_plots(findings: Findings) -> tuple[Plot, ...]:
    """A scatter for each pair of objectives that has points."""
    objectives = findings.spec.objectives
    view = view_of(findings)
    pairs = [(x, y) for i, x in enumerate(objectives) for y in objectives[i + 1 :]]
    found = []
    for x, y in pairs:
        svg = both(partial(pareto_plot, findings.plotted, x, y, view))
        if svg:
            found.append(Plot(name=f"{title(x.metric)} / {title(y.metric)}", svg=svg))
    return tuple(found)


def view_of(findings: Findings) -> ParetoView:
    """What a scatter marks."""
    chosen, baseline = map(findings.standing, (findings.chosen, findings.baseline))
    return ParetoView(
        front=frozenset(findings.front),
        repeats=findings.repeats,
        recommended=None if chosen is None else chosen.number,
        baseline=None if baseline is None else baseline.number,
        limits=findings.spec.limits,
        noise={tag: noise.floor for tag, noise in findings.noise.items()},
        estimates=findings.estimated_points,
        simulated=findings.simulated,
    )


def parameter_effects(findings: Findings) -> tuple[ParameterEffects, ...]:
    """Parameters by importance, each with a forest plot per objective."""
    shares = {
        name: {
            title(metric): item.share
            for metric, items in findings.importances.items()
            for item in items
            if item.parameter == name
        }
        for name in findings.parameters
    }
    effects = {
        o.metric: effects_by_parameter(findings.records, o, findings.parameters)
        for o in findings.spec.objectives
    }
    found = [
        _effects(findings, name, shares[name], {tag: of[name] for tag, of in effects.items()})
        for name in findings.parameters
    ]
    shown = [one for one in found if one.plots or any(one.shares.values())]
    return tuple(sorted(shown, key=lambda e: -max(e.shares.values(), default=0.0)))


def _effects(
    findings: Findings,
    name: str,
    shares: Mapping[str, float],
    by_metric: Mapping[str, Sequence[Effect]],
) -> ParameterEffects:
    panels, left_out = [], 0
    for metric, effects in by_metric.items():
        common = sorted(effects, key=lambda e: -e.trials_with)[:_MOST_VALUES]
        left_out = max(left_out, len(effects) - len(common))
        panels.append(
            Panel(
                title=title(metric),
                effects=sorted(common, key=lambda e: value_order(e.value)),
                floor=findings.noise[metric].floor,
            )
        )
    drawn = [panel for panel in panels if panel.effects]
    reach = reach_of(drawn)
    plots = tuple(Markup(forest_plot(panel, reach=reach)) for panel in drawn)  # noqa: S704 - escaped
    return ParameterEffects(name=name, shares=shares, plots=plots, left_out=left_out)


def phase_times(records: Sequence[TrialRecord]) -> tuple[PhaseTime, ...]:
    """Each phase with its time and its share of all time, the longest first."""
    seconds = seconds_by_phase(records)
    total = sum(seconds.values()) or 1.0
    return tuple(
        PhaseTime(
            name=name.replace("probe:", "probe ").replace("_", " "),
            css=group_of(name),
            text=duration_text(value),
            share=value / total,
        )
        for name, value in seconds.items()
    )


def group_times(records: Sequence[TrialRecord]) -> tuple[PhaseTime, ...]:
    """The four groups of phases with their time and share."""
    seconds = dict.fromkeys(GROUPS, 0.0)
    for name, value in seconds_by_phase(records).items():
        seconds[group_of(name)] += value
    total = sum(seconds.values()) or 1.0
    return tuple(
        PhaseTime(name=GROUPS[css], css=css, text=duration_text(value), share=value / total)
        for css, value in seconds.items()
    )


def timeline(records: Sequence[TrialRecord]) -> Markup:
    """A column per trial."""
    return both(partial(trial_columns, records), height=240)


def memory_plots(findings: Findings, samples: Sequence[Sample]) -> tuple[Plot, ...]:
    """GPU and host memory of the recommended trial."""
    record = findings.chosen
    if record is None or not samples:
        return ()
    plots = []
    for panel in memory_panels(findings.spec, samples):
        draw = partial(memory_plot, samples, record.phases, panel, simulated=findings.simulated)
        svg = both(draw, height=280)
        if svg:
            plots.append(Plot(name=panel.title, svg=svg))
    return tuple(plots)


def memory_panels(spec: StudySpec, samples: Sequence[Sample]) -> tuple[MemoryPanel, ...]:
    """GPU and host, with the bound that the study's limits or its headroom set."""
    bounds = {limit.metric: limit.upper for limit in spec.limits}

    def bound(name: str, headroom_gib: float) -> float | None:
        key = f"{name}_total_bytes"
        total = next((v for s in reversed(samples) if (v := s.values.get(key))), None)
        least = None if total is None else total - headroom_gib * BYTES_PER_GIB
        return bounds.get(f"{name}_peak_bytes") or least

    return (
        MemoryPanel(
            title="GPU memory",
            curves={"gpu_memory_used_bytes": "in use, whole GPU"},
            total="gpu_memory_total_bytes",
            bound_bytes=bound("gpu_memory", spec.headroom.gpu_gib),
        ),
        MemoryPanel(
            title="Host memory",
            curves={
                "host_memory_used_bytes": "in use, whole host",
                "engine_memory_bytes": "engine",
                "shm_used_bytes": "shared memory",
            },
            total="host_memory_total_bytes",
            bound_bytes=bound("host_memory", spec.headroom.host_gib),
        ),
    )


_ENVIRONMENT: Final = {
    "gpu": "GPU", "gpu_memory_bytes": "GPU memory", "gpu_driver": "driver",
    "gpu_other_users": "other users of the GPU", "image": "image", "image_digest": "image digest",
    "engine": "engine", "engine_release": "engine release",
    "engine_platform": "engine platform", "model": "model", "model_revision": "model revision",
    "host_platform": "host", "host_cpu_count": "CPU cores", "host_memory_bytes": "host memory",
    "python": "Python", "autotune": "autotune",
}  # fmt: skip


_PER_TRIAL: Final = frozenset({"cell", "cell_image"})
"""What a record of a matrix says of its cell: the matrix's own table shows it."""


def environment_rows(records: Sequence[TrialRecord]) -> tuple[tuple[str, str], ...]:
    """Where it was measured; several values if trials differ."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for key, value in record.environment.items():
            if not value or key in _PER_TRIAL:
                continue
            found.setdefault(key, {})[_shown(key, value)] = None
    order = [*(k for k in _ENVIRONMENT if k in found), *(k for k in found if k not in _ENVIRONMENT)]
    return tuple(
        (_ENVIRONMENT.get(k, k.replace("_", " ")), " / ".join(list(found[k])[:4])) for k in order
    )


def _shown(key: str, value: str) -> str:
    if key.endswith("_bytes") and value.isdecimal():
        return gib_text(int(value))
    return value
