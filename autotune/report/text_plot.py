"""A small scatter plot in characters, for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autotune.report.quantities import Scale

MEASURED: Final = "·"
ON_FRONT: Final = "●"
BASELINE: Final = "○"
RECOMMENDED: Final = "◆"

_RANK: Final = {MEASURED: 0, ON_FRONT: 1, BASELINE: 2, RECOMMENDED: 3}
"""Of two marks in one place, the higher rank is drawn."""


@dataclass(frozen=True)
class Point:
    """A measured trial in the plane of two objectives, raw values."""

    x: float
    y: float
    mark: str = MEASURED


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One objective along an axis.

    Attributes:
        title: For people.
        scale: How its ends are labelled.
        higher_is_better: Draws an arrow towards better.
    """

    title: str
    scale: Scale
    higher_is_better: bool


def scatter(points: Sequence[Point], *, x: Axis, y: Axis, width: int, height: int) -> list[str]:
    """Lines of a plot, each at most `width` characters, `height` lines in all.

    Args:
        points: None of them gives an empty frame.
        x: To the right.
        y: Upwards.
        width: Of the whole plot, labels included; at least 24.
        height: Of the whole plot, labels included; at least 5.
    """
    x_low, x_high = _span([p.x for p in points])
    y_low, y_high = _span([p.y for p in points])
    labels = [y.scale.number(y_high), y.scale.number(y_low)] if points else ["", ""]
    gutter = max(len(label) for label in labels)
    columns, lines = max(8, width - gutter - 2), max(2, height - 3)
    grid = [[" "] * columns for _ in range(lines)]
    for point in sorted(points, key=lambda p: _RANK.get(p.mark, 0)):
        column = _place(point.x, x_low, x_high, columns)
        line = lines - 1 - _place(point.y, y_low, y_high, lines)
        grid[line][column] = point.mark
    drawn = [_y_title(y)[:width]]
    for index, line_of_marks in enumerate(grid):
        label = labels[0] if index == 0 else labels[1] if index == lines - 1 else ""
        drawn.append(f"{label:>{gutter}} ┤{''.join(line_of_marks).rstrip()}"[:width])
    drawn.append(f"{'':>{gutter}} └{'─' * columns}"[:width])
    drawn.append(_x_labels(x, (x_low, x_high) if points else None, gutter + 2, columns)[:width])
    return drawn


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis; a single value gets room on both sides."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        pad = abs(low) * 0.05 or 1.0
        return low - pad, high + pad
    return low, high


def _place(value: float, low: float, high: float, cells: int) -> int:
    return min(cells - 1, max(0, round((value - low) / (high - low) * (cells - 1))))


def _y_title(axis: Axis) -> str:
    unit = f" [{axis.scale.unit}]" if axis.scale.unit else ""
    return f"{axis.title}{unit} {'↑' if axis.higher_is_better else '↓'} better"


def _x_labels(axis: Axis, ends: tuple[float, float] | None, indent: int, columns: int) -> str:
    unit = f" [{axis.scale.unit}]" if axis.scale.unit else ""
    name = f"{axis.title}{unit} {'→' if axis.higher_is_better else '←'} better"
    if ends is None:
        return " " * indent + name.center(columns)
    low, high = (axis.scale.number(end) for end in ends)
    middle = name.center(max(0, columns - len(low) - len(high)))
    return " " * indent + (low + middle + high)
