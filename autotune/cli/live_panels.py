"""State of the live view and how it is drawn: pure, so that it can be looked at in a test."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from autotune.cli.plain import ended_text
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.report.quantities import display, duration_text, scale_for, title
from autotune.report.table import SIMULATED
from autotune.report.tables import configuration_text
from autotune.report.text_plot import BASELINE, MEASURED, ON_FRONT, Axis, Point, scatter
from autotune.report.untrusted import one_line, shorten
from autotune.seams.events import Notice, PhaseStarted, TrialEnded, TrialStarted
from autotune.spec.study import Objective
from autotune.units import gib_from_bytes, s_from_ns

_BAR: Final = 16
_PLOT_HEIGHT: Final = 10
_STATUS: Final = {
    OutcomeStatus.MEASURED: ("✓", "green"),
    OutcomeStatus.INFEASIBLE: ("✗", "red"),
    OutcomeStatus.FAILED: ("!", "yellow"),
    OutcomeStatus.SCREENED: ("-", "bright_black"),
}


@dataclass(kw_only=True)
class LiveState:
    """What the view knows; changed by events only.

    Times are the study's: with a virtual clock (`virtual`) nobody waits for them.

    Only the objectives of past trials are kept, not their records: a long study stays small.
    """

    study: str
    objectives: tuple[Objective, ...]
    simulated: bool
    notices: deque[Notice]
    recent: deque[TrialRecord]
    virtual: bool = False
    trial: TrialStarted | None = None
    phase: PhaseStarted | None = None
    telemetry: Mapping[str, float | None] = field(default_factory=dict)
    front: tuple[int, ...] = ()
    figures: dict[int, tuple[float | None, ...]] = field(default_factory=dict)
    baseline: int | None = None
    reference: Configuration | None = None
    counts: dict[OutcomeStatus, int] = field(default_factory=dict)
    done: int = 0
    total: int | None = None
    remaining_s: float | None = None
    started_ns: int | None = None
    trial_started_ns: int = 0

    def begin(self, event: TrialStarted, now_ns: int) -> None:
        """A trial starts."""
        self.trial, self.phase, self.telemetry = event, None, {}
        self.done, self.total = event.trials_done, event.trials_total
        self.trial_started_ns = now_ns
        self.started_ns = now_ns if self.started_ns is None else self.started_ns

    def enter(self, event: PhaseStarted) -> None:
        """The trial enters a phase."""
        self.phase = event

    def end(self, event: TrialEnded, now_ns: int) -> None:
        """A trial is on disk."""
        record = event.record
        self.started_ns = now_ns if self.started_ns is None else self.started_ns
        self.recent.append(record)
        self.front, self.remaining_s = event.front, event.remaining_s
        self.simulated = self.simulated or record.simulated
        status = record.outcome.status
        self.counts[status] = self.counts.get(status, 0) + 1
        self.done += 1
        self.trial = self.phase = None
        if record.is_measured:
            self.figures[record.number] = tuple(
                record.metrics.get(o.metric) for o in self.objectives
            )
            if record.kind is TrialKind.BASELINE:
                self.baseline, self.reference = record.number, record.configuration


def screen(state: LiveState, *, now_ns: int, width: int, height: int) -> RenderableType:
    """The whole view; parts that do not fit the height are left out, the plot first."""
    parts: list[RenderableType] = [_head(state, now_ns, width), *_current(state, now_ns, width)]
    bars = _memory_bars(state, width)
    recent = _recent(state, width)
    fixed = len(parts) + len(bars) + len(recent) + len(state.notices) + 2
    plot = _front(state, width) if height - fixed >= _PLOT_HEIGHT else []
    parts += [*bars, *plot, *recent]
    parts += [Text(shorten(n.text, width), style="yellow" if n.level == "warning" else "dim")
              for n in state.notices]  # fmt: skip
    return Group(*parts)


def _head(state: LiveState, now_ns: int, width: int) -> RenderableType:
    total = "" if state.total is None else f"/{state.total}"
    parts = [shorten(state.study, 20), f"{state.done}{total} trials"]
    times = []
    if state.started_ns is not None:
        times.append(duration_text(s_from_ns(now_ns - state.started_ns)))
    if state.remaining_s is not None:
        times.append(f"~{duration_text(state.remaining_s)} left")
    if times:
        parts.append(", ".join(times) + (" (virtual)" if state.virtual else ""))
    if state.simulated:
        parts.insert(0, SIMULATED)
    style = "bold yellow" if state.simulated else "bold cyan"
    return Rule(Text(shorten(" · ".join(parts), width - 4), style=style), style=style)


def _current(state: LiveState, now_ns: int, width: int) -> list[RenderableType]:
    """Progress, the running trial, its phase."""
    lines: list[RenderableType] = []
    if state.total:
        done = min(1.0, state.done / state.total)
        counts = "  ".join(
            f"{sign} {state.counts[status]} {status.value}"
            for status, (sign, _) in _STATUS.items()
            if state.counts.get(status)
        )
        room = max(10, width - len(counts) - 12)
        lines.append(Text.assemble(
            bar(done, min(30, room)), f" {done * 100:3.0f}%  ", (counts, "dim"),
        ))  # fmt: skip
    if state.trial is None:
        lines.append(Text("between trials", style="dim"))
        return lines
    name = state.trial.label or state.trial.kind.value
    settings = configuration_text(state.trial.configuration, against=state.reference)
    configuration = shorten(settings, max(10, width * 2 - 30))
    lines.append(Text.assemble((f"trial {state.trial.number} ({name})  ", "bold"), configuration))
    if state.phase is not None:
        inside = duration_text(s_from_ns(max(0, now_ns - state.phase.at_ns)))
        whole = duration_text(s_from_ns(max(0, now_ns - state.trial_started_ns)))
        detail = f"  {shorten(state.phase.detail, width // 2)}" if state.phase.detail else ""
        lines.append(Text.assemble(
            "  ", (phase_text(state.phase.phase), "cyan"), f"  {inside}",
            (f" of {whole}", "dim"), detail,
        ))  # fmt: skip
    return lines


def phase_text(phase: str) -> str:
    """A phase for people: "probe:long_context" becomes "probe long context"."""
    return one_line(phase).replace(":", " ").replace("_", " ")


def _memory_bars(state: LiveState, width: int) -> list[RenderableType]:
    """GPU and host memory, a line each, where they could be read."""
    wanted = (("GPU", "gpu_memory"), ("RAM", "host_memory"))
    grid = Table.grid(padding=(0, 2))
    cells = []
    for name, key in wanted:
        used, total = (state.telemetry.get(f"{key}_{end}_bytes") for end in ("used", "total"))
        if used is None or not total:
            continue
        share = used / total
        style = "red" if share > 0.95 else "yellow" if share > 0.88 else "green"
        cells.append(Text.assemble(
            f"{name} ", (bar(share, _BAR), style),
            f" {gib_from_bytes(used):.1f}/{gib_from_bytes(total):.1f} GiB",
        ))  # fmt: skip
    if not cells:
        return []
    if width < 80:
        return list(cells)
    grid.add_row(*cells)
    return [grid]


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` characters."""
    filled = round(min(1.0, max(0.0, share)) * width)
    return "█" * filled + "░" * (width - filled)


def _front(state: LiveState, width: int) -> list[RenderableType]:
    """The first two objectives of the measured trials as a plot."""
    if len(state.objectives) < 2:
        return []
    points = [Point(x, y, _mark(state, number))
              for number, (x, y, *_) in state.figures.items()
              if x is not None and y is not None]  # fmt: skip
    if not points:
        return []
    columns = [[f[i] for f in state.figures.values()] for i in (0, 1)]
    axes = [
        Axis(
            title=title(objective.metric),
            scale=scale_for(objective.metric, values),
            higher_is_better=objective.direction == "maximize",
        )
        for objective, values in zip(state.objectives[:2], columns, strict=True)
    ]
    lines = scatter(points, x=axes[0], y=axes[1], width=min(width - 1, 76), height=_PLOT_HEIGHT)
    legend = f"{ON_FRONT} front ({len(state.front)})  {MEASURED} measured"
    legend += f"  {BASELINE} baseline" if state.baseline is not None else ""
    plot = Text("\n".join([*lines, legend]), no_wrap=True)
    plot.highlight_words([ON_FRONT], "bold cyan")
    plot.highlight_words([BASELINE], "bold yellow")
    return [plot]


def _mark(state: LiveState, number: int) -> str:
    if number == state.baseline:
        return BASELINE
    return ON_FRONT if number in state.front else MEASURED


def _recent(state: LiveState, width: int) -> list[RenderableType]:
    """The last outcomes, a line each, the newest first."""
    lines: list[RenderableType] = []
    for record in reversed(state.recent):
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
