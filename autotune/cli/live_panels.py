"""How the live view is drawn: pure, so that it can be looked at in a test.

head, progress           always
trial, phase, memory     always
plot, outcomes           share what is left; on a low terminal the plot gives way
notices                  always, few
"""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from autotune.analysis.limits import mean_of
from autotune.cli.live_state import LiveState
from autotune.cli.plain import ended_text
from autotune.records import OutcomeStatus, TrialRecord
from autotune.report.quantities import display, duration_text, phase_text, scale_for, title
from autotune.report.table import SIMULATED
from autotune.report.tables import configuration_text
from autotune.report.text_plot import BASELINE, MEASURED, ON_FRONT, Axis, Point, scatter
from autotune.report.untrusted import one_line, shorten
from autotune.seams.events import PhaseStarted
from autotune.study.agenda import BESIDE
from autotune.units import gib_from_bytes, s_from_ns

_MEASURE: Final = Console(width=80, color_system=None)
"""Only breaks lines, at whatever width it is told."""

_BAR: Final = 16
_PHASE_BAR: Final = 10
_LOWEST_PLOT: Final = 8
_HIGHEST_PLOT: Final = 18
_WIDEST_PLOT: Final = 110
_LEAST_OUTCOMES: Final = 4
"""Outcomes for which the plot leaves room."""

_STATUS: Final = {
    OutcomeStatus.MEASURED: ("✓", "green"),
    OutcomeStatus.INFEASIBLE: ("✗", "red"),
    OutcomeStatus.FAILED: ("!", "yellow"),
    OutcomeStatus.SCREENED: ("-", "bright_black"),
}


def screen(state: LiveState, *, now_ns: int, width: int, height: int) -> RenderableType:
    """The whole view, no higher than the terminal."""
    parts = [
        _head(state, now_ns, width),
        *_progress(state, width),
        *_current(state, now_ns, width),
        *_memory_bars(state, width),
    ]
    notices = _notices(state, width, most=2 if height < 30 else 5)
    left = height - len(parts) - len(notices)
    plot_height = min(_HIGHEST_PLOT, left - min(len(state.recent), _LEAST_OUTCOMES))
    plot = _front(state, width, plot_height) if plot_height >= _LOWEST_PLOT else None
    if plot is not None:
        parts.append(plot)
        left -= plot_height
    parts += _recent(state, width, most=left)
    return Group(*parts, *notices)


def _head(state: LiveState, now_ns: int, width: int) -> RenderableType:
    """What runs, how far, how long; on a narrow terminal the time that is left stays whole."""
    total = "" if state.total is None else f"/{state.total}"
    parts = [SIMULATED] if state.simulated else []
    parts.append(shorten(state.study, 20))
    done = f"{state.done}{total}"
    gone = "" if state.started_ns is None else duration_text(s_from_ns(now_ns - state.started_ns))
    left = "" if state.remaining_s is None else f"~{duration_text(state.remaining_s)} left"
    whole = ", ".join(filter(None, (gone, left)))
    mark = " (virtual)" if state.virtual else ""
    marked = [f"{times}{mark}" for times in (whole, left) if times] or [""]
    told = [*((f"{done} trials", times) for times in marked), (done, marked[-1]), (done, left)]
    heads = [" · ".join(filter(None, [*parts, *ends])) for ends in told]
    head = next((h for h in heads if len(h) <= width - 4), heads[-1])
    style = "bold yellow" if state.simulated else "bold cyan"
    return Rule(Text(shorten(head, width - 4), style=style), style=style)


def _progress(state: LiveState, width: int) -> list[RenderableType]:
    """Of the study, with how the trials ended."""
    if not state.total:
        return []
    done = min(1.0, state.done / state.total)
    counts = "  ".join(
        f"{sign} {state.counts[status]} {status.value}"
        for status, (sign, _) in _STATUS.items()
        if state.counts.get(status)
    )
    room = min(30, max(10, width - len(counts) - 9))
    line = Text.assemble(bar(done, room), f" {done * 100:3.0f}%  ", (counts, "dim"))
    line.truncate(width, overflow="ellipsis")
    return [line]


def _current(state: LiveState, now_ns: int, width: int) -> list[RenderableType]:
    """The running trial with its settings in up to two lines, and its phase."""
    if state.trial is None:
        return [Text("between trials", style="dim")]
    kind = state.trial.kind
    name = state.trial.label or kind.value
    name += ", beside the budget" if kind in BESIDE and state.total else ""
    head = f"trial {state.trial.number} ({name})  "
    settings = configuration_text(state.trial.configuration, against=state.reference)
    text = Text.assemble((head, "bold"), shorten(settings, max(10, 2 * width - len(head) - 12)))
    lines: list[RenderableType] = list(text.wrap(_MEASURE, width)[:2])
    if state.phase is not None:
        lines.append(_phase(state, state.phase, now_ns, width))
    return lines


def _phase(state: LiveState, phase: PhaseStarted, now_ns: int, width: int) -> Text:
    """What the trial does, for how long, and how far it is if it takes as long as others."""
    inside = duration_text(s_from_ns(max(0, now_ns - phase.at_ns)))
    whole_s = s_from_ns(max(0, now_ns - state.trial_started_ns))
    line = Text.assemble("  ", (phase_text(phase.phase), "cyan"), f"  {inside}   ")
    if state.typical_s:
        line.append(bar(whole_s / state.typical_s, _PHASE_BAR), style="cyan")
        line.append(f" {duration_text(whole_s)} of about {duration_text(state.typical_s)}", "dim")
    else:
        line.append(f"trial {duration_text(whole_s)}", style="dim")
    if phase.detail:
        line.append(f"  {one_line(phase.detail)}")
    line.truncate(width, overflow="ellipsis")
    return line


def _memory_bars(state: LiveState, width: int) -> list[RenderableType]:
    """GPU and host memory where they could be read; side by side if there is room."""
    cells = []
    for name, key in (("GPU", "gpu_memory"), ("RAM", "host_memory")):
        used, total = (state.telemetry.get(f"{key}_{end}_bytes") for end in ("used", "total"))
        if used is None or not total:
            continue
        share = used / total
        style = "red" if share > 0.95 else "yellow" if share > 0.88 else "green"
        cells.append(Text.assemble(
            f"{name} ", (bar(share, _BAR), style),
            f" {gib_from_bytes(used):.1f}/{gib_from_bytes(total):.1f} GiB",
        ))  # fmt: skip
    if width < 80 or not cells:
        return list(cells)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(*cells)
    return [grid]


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` characters."""
    filled = round(min(1.0, max(0.0, share)) * width)
    return "█" * filled + "░" * (width - filled)


def _front(state: LiveState, width: int, height: int) -> RenderableType | None:
    """Means of the measured configurations in two objectives as a plot of so many lines."""
    if len(state.objectives) < 2:
        return None
    points = [Point(x, y, _mark(state, numbers))
              for numbers in state.alike.values()
              if (x := _mean(state, numbers, 0)) and (y := _mean(state, numbers, 1))]  # fmt: skip
    if not points:
        return None
    columns = [[f[i] for f in state.figures.values()] for i in (0, 1)]
    axes = [
        Axis(
            title=title(objective.metric),
            scale=scale_for(objective.metric, values),
            higher_is_better=objective.direction == "maximize",
        )
        for objective, values in zip(state.objectives[:2], columns, strict=True)
    ]
    across = min(width - 1, _WIDEST_PLOT)
    lines = scatter(points, x=axes[0], y=axes[1], width=across, height=height - 1)
    legend = f"{ON_FRONT} front ({len(state.front)})  {MEASURED} measured"
    legend += f"  {BASELINE} baseline" if state.baseline is not None else ""
    plot = Text("\n".join([*lines, legend]), no_wrap=True)
    plot.highlight_words([ON_FRONT], "bold cyan")
    plot.highlight_words([BASELINE], "bold yellow")
    return plot


def _mean(state: LiveState, numbers: Sequence[int], objective: int) -> float | None:
    values = [v for number in numbers if (v := state.figures[number][objective]) is not None]
    return mean_of(values) if values else None


def _mark(state: LiveState, numbers: Sequence[int]) -> str:
    if state.reference is not None and numbers is state.alike.get(state.reference):
        return BASELINE
    return ON_FRONT if any(number in state.front for number in numbers) else MEASURED


def _recent(state: LiveState, width: int, *, most: int) -> list[RenderableType]:
    """The last outcomes, a line each, the newest first."""
    lines: list[RenderableType] = []
    for record in list(reversed(state.recent))[: max(0, most)]:
        sign, style = _STATUS[record.outcome.status]
        star = "★" if record.number in state.front else " "
        text = _figures(state, record) if record.is_measured else ended_text(record, ())
        head = f"{sign}{star}{record.number:>4} "
        lines.append(Text.assemble((head, style), shorten(text, max(10, width - len(head) - 1))))
    return lines


def _figures(state: LiveState, record: TrialRecord) -> str:
    shown = [display(o.metric, record.metrics.get(o.metric)) for o in state.objectives]
    against = None if record.number == state.baseline else state.reference
    return f"{'  '.join(shown)}  {configuration_text(record.configuration, against=against)}"


def _notices(state: LiveState, width: int, *, most: int) -> list[RenderableType]:
    """Warnings before news, the latest of each."""
    shown = [Text(shorten(f"⚠ {w}", width), style="yellow") for w in reversed(state.warnings)]
    shown += [Text(shorten(n, width), style="dim") for n in reversed(state.news)]
    return list(shown[:most])
