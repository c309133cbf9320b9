"""Measured trials in the plane of two objectives."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.records import TrialRecord
from autotune.report.quantities import ESTIMATE, display, heading, scale_for, title
from autotune.report.svg.canvas import Canvas, Frame, Linear, Size, padded, ticks
from autotune.report.table import SIMULATED
from autotune.report.tables import outcome_text
from autotune.spec.study import Limit, Objective

_LEGEND: Final = (
    ("best", "recommended"),
    ("base", "baseline"),
    ("front", "on the front"),
    ("rest", "measured"),
    ("bad", "infeasible or failed"),
)


Point = tuple[TrialRecord, float, float]


@dataclass(frozen=True, kw_only=True)
class ParetoView:
    """What a scatter shows beside its points.

    Attributes:
        front: Numbers of the front's trials.
        repeats: Number to the trials that its figures are means of; one where it is not named.
        limits: Drawn as lines where they are on one of the two axes.
        noise: Metric to the relative difference under which two trials cannot be told apart.
        estimates: Metric to the trials whose figure was computed.
    """

    front: frozenset[int] = frozenset()
    repeats: Mapping[int, int] = field(default_factory=dict)
    recommended: int | None = None
    baseline: int | None = None
    limits: Sequence[Limit] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    estimates: Mapping[str, Collection[int]] = field(default_factory=dict)
    simulated: bool = False


def pareto_plot(
    records: Sequence[TrialRecord],
    x: Objective,
    y: Objective,
    view: ParetoView,
    size: Size,
) -> str:
    """SVG of the configurations that have both figures; empty if there is none.

    Args:
        records: One per configuration, and every trial of those that are no candidates.
        x: To the right.
        y: Upwards.
        view: What is marked.
        size: What it is drawn for.
    """
    points = [(r, mine, other) for r in records
              if (mine := r.metrics.get(x.metric)) is not None
              and (other := r.metrics.get(y.metric)) is not None]  # fmt: skip
    if not points:
        return ""
    canvas = Canvas(size, f"{title(y.metric)} against {title(x.metric)}")
    scatter = _Scatter(canvas, points, x, y, view)
    scatter.axes()
    scatter.legend()
    scatter.noise()
    scatter.limits()
    scatter.points()
    return canvas.svg()


class _Scatter:
    """One scatter while it is drawn."""

    def __init__(
        self, canvas: Canvas, points: Sequence[Point], x: Objective, y: Objective, view: ParetoView
    ) -> None:
        self._canvas, self._points, self._view = canvas, points, view
        self._x, self._y = x, y
        self._frame = frame = Frame(
            left=64, top=46 if self._wide else 62, right=canvas.width - 14,
            bottom=canvas.height - 46,
        )  # fmt: skip
        x_ends, y_ends = padded([p[1] for p in points]), padded([p[2] for p in points])
        self._across = Linear(*x_ends, frame.left, frame.right)
        self._up = Linear(*y_ends, frame.bottom, frame.top)

    def axes(self) -> None:
        """Grid, titles, and which way is better."""
        canvas, frame, x, y = self._canvas, self._frame, self._x, self._y
        ends = [(scale.low, scale.high) for scale in (self._across, self._up)]
        scales = scale_for(x.metric, ends[0]), scale_for(y.metric, ends[1])
        frame.grid_x(canvas, self._across, ticks(*ends[0], scales[0], 6 if self._wide else 3))
        frame.grid_y(canvas, self._up, ticks(*ends[1], scales[1]))
        across = "→ better" if x.direction == "maximize" else "← better"
        up = "↑ better" if y.direction == "maximize" else "↓ better"
        canvas.text(8, 16, f"{heading(y.metric, scales[1])}  {up}", "axis-title")
        canvas.text(frame.right, canvas.height - 8,
                    f"{heading(x.metric, scales[0])}  {across}", "axis-title", "end")  # fmt: skip
        if self._view.simulated:
            canvas.text(frame.right, 16, SIMULATED, "simulated", "end")

    def legend(self) -> None:
        """What the marks mean, those that occur."""
        kinds = {self._kind(record) for record, _, _ in self._points}
        start = self._frame.left if self._wide else 8.0
        at, line = start, 31.0
        for css, label in _LEGEND:
            length = 33 + 6.4 * len(label)
            if css not in kinds:
                continue
            if at + length > self._canvas.width:
                at, line = start, line + 16
            self._mark(css, at + 5, line)
            self._canvas.text(at + 14, line + 4, label, "tick")
            at += length

    def noise(self) -> None:
        """The box around the baseline in which a difference is no difference."""
        base = next(((px, py) for r, px, py in self._points if r.number == self._view.baseline),
                    None)  # fmt: skip
        widths = [self._view.noise.get(axis.metric) for axis in (self._x, self._y)]
        if base is None or widths[0] is None or widths[1] is None:
            return
        frame = self._frame
        left, right = (self._across(base[0] * (1 + sign * widths[0])) for sign in (-1, 1))
        bottom, top = (self._up(base[1] * (1 + sign * widths[1])) for sign in (-1, 1))
        left, right = max(left, frame.left), min(right, frame.right)
        top, bottom = max(top, frame.top), min(bottom, frame.bottom)
        self._canvas.rect(left, top, right - left, bottom - top, "noise")

    def limits(self) -> None:
        """Bounds of the study that lie within the picture."""
        canvas, frame = self._canvas, self._frame
        for limit in self._view.limits:
            bound = limit.upper if limit.upper is not None else limit.at_least
            if bound is None:
                continue
            label = f"limit {display(limit.metric, bound)}"
            if limit.metric == self._x.metric and self._across.low < bound < self._across.high:
                at = self._across(bound)
                canvas.line(at, frame.top, at, frame.bottom, "limit")
                canvas.text(at - 4, frame.top + 12, label, "limit-label", "end")
            if limit.metric == self._y.metric and self._up.low < bound < self._up.high:
                at = self._up(bound)
                canvas.line(frame.left, at, frame.right, at, "limit")
                canvas.text(frame.right - 4, at - 5, label, "limit-label", "end")

    def points(self) -> None:
        """Every trial, the telling ones on top."""
        order = {"bad": 0, "rest": 1, "front": 2, "base": 3, "best": 4}
        for record, px, py in sorted(self._points, key=lambda p: order[self._kind(p[0])]):
            told = (self._figure(record, axis, at) for axis, at in ((self._x, px), (self._y, py)))
            figures = ", ".join(told)
            count = self._view.repeats.get(record.number, 1)
            mean = f", mean of {count}" if count > 1 else ""
            name = f"trial {record.number}{mean}: {figures}"
            hint = f"{name} · {outcome_text(record.outcome)} · {record.configuration}"
            at = (self._across(px), self._up(py))
            self._mark(self._kind(record), *at, trial=record.number, words=(name, hint))

    def _figure(self, record: TrialRecord, axis: Objective, value: float) -> str:
        is_estimate = record.number in self._view.estimates.get(axis.metric, ())
        return f"{ESTIMATE if is_estimate else ''}{display(axis.metric, value)}"

    @property
    def _wide(self) -> bool:
        return self._canvas.width > 500

    def _kind(self, record: TrialRecord) -> str:
        if record.number == self._view.recommended:
            return "best"
        if record.number == self._view.baseline:
            return "base"
        if _is_bad(record):
            return "bad"
        return "front" if record.number in self._view.front else "rest"

    def _mark(
        self,
        css: str,
        x: float,
        y: float,
        *,
        trial: int | None = None,
        words: tuple[str, str] | None = None,
    ) -> None:
        """One mark; that of a trial has a name and, for a pointer over it, more words."""
        size = {"best": 7.0, "base": 5.5, "front": 5.0, "rest": 3.6, "bad": 3.0}[css]
        shared: dict[str, object] = {"class_": f"dot {css}", "data_trial": trial}
        if words is not None:
            name, hint = words
            shared |= {"data_hint": hint, "tabindex": 0, "role": "button", "aria_label": name}
        if css == "best":
            shape = f"M{x:.1f} {y - size:.1f}l{size} {size}l-{size} {size}l-{size} -{size}z"
            self._canvas.add("path", d=shape, **shared)
        elif css == "bad":
            self._canvas.add("path", d=f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6", **shared)
        else:
            self._canvas.add("circle", cx=float(x), cy=float(y), r=size, **shared)


def _is_bad(record: TrialRecord) -> bool:
    """Whether it did not end well; a cell of a matrix is measured whole, and may miss a limit."""
    missed = any(check.kept is False for check in record.limits)
    return not record.is_measured or (missed and not record.is_feasible)
