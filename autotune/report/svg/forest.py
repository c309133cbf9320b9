"""What a setting does to an objective: ratio with its interval, beside the noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.effects import Effect
from autotune.report.quantities import TIMES, change
from autotune.report.svg.canvas import Canvas, Frame, Linear, Size

_ROW: float = 26


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Effects of the values of one parameter on one objective.

    Attributes:
        floor: Relative difference under which two single trials cannot be told apart.
    """

    title: str
    effects: Sequence[Effect]
    floor: float


def forest_plot(panel: Panel, *, width: float = 300, reach: float | None = None) -> str:
    """One row per value; a dot at the ratio, a line for its 95% interval, a band for the noise.

    Args:
        panel: What to draw; empty effects give an empty string.
        width: In pixels at the size it is made for.
        reach: Largest |log ratio| of the axis, to make neighbours comparable; None fits.
    """
    if not panel.effects:
        return ""
    height = 44 + _ROW * len(panel.effects) + 20
    canvas = Canvas(Size(width=width, height=height, css="forest"), panel.title)
    longest = max(len(shown(effect)) for effect in panel.effects)
    frame = Frame(left=16 + 6.6 * longest, top=30, right=width - 100, bottom=height - 22)
    reach = reach or reach_of([panel])
    across = Linear(-reach, reach, frame.left, frame.right)
    band = min(reach, math.log1p(panel.floor))
    canvas.text(0, 14, panel.title, "axis-title")
    canvas.rect(across(-band), frame.top, across(band) - across(-band),
                frame.bottom - frame.top, "noise")  # fmt: skip
    canvas.line(across(0), frame.top, across(0), frame.bottom, "axis")
    for value in (-reach, 0.0, reach):
        label = f"{math.exp(value):.2f}{TIMES}" if value else f"1{TIMES}"
        canvas.text(across(value), frame.bottom + 16, label, "tick", "middle")
    for index, effect in enumerate(panel.effects):
        _row(canvas, frame, across, effect, frame.top + _ROW * (index + 0.5))
    return canvas.svg()


def reach_of(panels: Sequence[Panel]) -> float:
    """Largest |log ratio| that panels show; longer intervals are cut off there."""
    ratios = [abs(math.log(e.ratio)) for p in panels for e in p.effects]
    floors = [math.log1p(p.floor) for p in panels]
    return max([*(1.25 * ratio for ratio in ratios), *(1.5 * floor for floor in floors), 0.02])


def shown(effect: Effect) -> str:
    """A value, short enough for the margin."""
    text = str(effect.value)
    return text if len(text) <= 15 else f"{text[:14]}…"


def _row(canvas: Canvas, frame: Frame, across: Linear, effect: Effect, y: float) -> None:
    tone = "plain" if not effect.is_clear else "good" if effect.better else "bad"
    canvas.text(frame.left - 8, y + 4, shown(effect), "tick", "end")
    if effect.low is not None and effect.high is not None:
        left, right = (
            min(max(across(math.log(end)), frame.left), frame.right)
            for end in (effect.low, effect.high)
        )
        canvas.line(left, y, right, y, f"interval {tone}")
    x = min(max(across(math.log(effect.ratio)), frame.left), frame.right)
    canvas.add("circle", cx=float(x), cy=float(y), r=4.2, class_=f"effect {tone}",
               data_hint=effect.sentence)  # fmt: skip
    canvas.text(frame.right + 8, y + 4, change(effect.ratio, 1), f"value {tone}")
    trials = f"n={effect.trials_with}"
    canvas.text(canvas.width, y + 4, trials, "tick", "end")
