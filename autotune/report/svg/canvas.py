"""The few shapes, scales and axes that the plots are made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from autotune.report.quantities import Scale
from autotune.report.untrusted import one_line

_TICK_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a plot is drawn for.

    Attributes:
        width: In pixels.
        height: In pixels.
        css: Class of the element: the page shows "wide" on a desk and "narrow" on a phone.
        style: A style sheet of its own, to stand alone as a file.
    """

    width: float
    height: float
    css: str = ""
    style: str = ""


@dataclass
class Canvas:
    """Collects elements of one SVG.

    Attributes:
        size: Its coordinate system, in pixels at the size it is made for.
        label: What a screen reader says.
    """

    size: Size
    label: str
    parts: list[str] = field(default_factory=list)

    @property
    def width(self) -> float:
        """Of the coordinate system."""
        return self.size.width

    @property
    def height(self) -> float:
        """Of the coordinate system."""
        return self.size.height

    def add(self, name: str, **attributes: object) -> None:
        """Add an element; `class_` is class, `data_trial` is data-trial, None leaves it out."""
        self._write(name, attributes, "/>")

    def text(self, x: float, y: float, text: str, class_: str, anchor: str = "start") -> None:
        """Text, escaped and on one line."""
        where = {"x": float(x), "y": float(y), "class": class_, "text-anchor": anchor}
        self._write("text", where, f">{escape(one_line(text))}</text>")

    def _write(self, name: str, attributes: Mapping[str, object], end: str) -> None:
        written = []
        for key, value in attributes.items():
            if value is not None:
                shown = number(value) if isinstance(value, float) else one_line(str(value))
                written.append(f' {key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
        self.parts.append(f"<{name}{''.join(written)}{end}")

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        """A straight line."""
        self.add("path", d=f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}", class_=class_)

    def polyline(self, points: Sequence[tuple[float, float]], class_: str) -> None:
        """A line through points; nothing for fewer than two."""
        if len(points) > 1:
            path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
            self.add("path", d=f"M{path}", class_=class_)

    def rect(self, x: float, y: float, width: float, height: float, class_: str) -> None:
        """A box; no smaller than nothing."""
        self.add("rect", x=float(x), y=float(y), width=max(0.0, float(width)),
                 height=max(0.0, float(height)), class_=class_)  # fmt: skip

    def svg(self) -> str:
        """The element."""
        style, fixed = "", ""
        if self.size.style:
            style = f"<style>{self.size.style}</style>"
            fixed = f' width="{number(self.width)}" height="{number(self.height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg"{fixed} class="plot {self.size.css}" '
            f'role="img" viewBox="0 0 {number(self.width)} {number(self.height)}" '
            f'aria-label="{escape(one_line(self.label))}">{style}{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True)
class Linear:
    """From raw values to coordinates."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a raw value lies."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Ends of an axis that leaves room around values; not below zero if none of them is."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def ticks(low: float, high: float, scale: Scale, count: int = 5) -> list[tuple[float, str]]:
    """Round values in display units between two raw ends, with their labels."""
    first, last = low / scale.divisor, high / scale.divisor
    if not last > first:
        return []
    rough = (last - first) / max(1, count)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = magnitude * next(s for s in _TICK_STEPS if s * magnitude >= rough * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if not math.isclose(step, round(step, decimals), rel_tol=1e-9):
        decimals += 1  # steps of 2.5
    start = math.ceil(first / step - 1e-9)
    found = []
    while start * step <= last * (1 + 1e-12):
        shown = start * step
        found.append((shown * scale.divisor, f"{shown:,.{decimals}f}"))
        start += 1
    return found


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The plotting area of a canvas."""

    left: float
    top: float
    right: float
    bottom: float

    def grid_x(self, canvas: Canvas, x: Linear, marks: Sequence[tuple[float, str]]) -> None:
        """Vertical lines with labels below."""
        for value, label in marks:
            at = x(value)
            canvas.line(at, self.top, at, self.bottom, "grid")
            canvas.text(at, self.bottom + 16, label, "tick", "middle")

    def grid_y(self, canvas: Canvas, y: Linear, marks: Sequence[tuple[float, str]]) -> None:
        """Horizontal lines with labels to the left."""
        for value, label in marks:
            at = y(value)
            canvas.line(self.left, at, self.right, at, "grid")
            canvas.text(self.left - 7, at + 4, label, "tick", "end")
