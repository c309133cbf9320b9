"""Memory of one trial over its time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.records import PhaseSpan
from autotune.report.quantities import Scale
from autotune.report.svg.canvas import Canvas, Frame, Linear, Size, ticks
from autotune.report.table import SIMULATED
from autotune.seams.telemetry import Sample
from autotune.units import BYTES_PER_GIB, NS_PER_S, s_from_ns

_MOST_POINTS: Final = 240
_LABEL: Final = 18.0
"""Height of a label over its line, in pixels."""
_GIB: Final = Scale(unit="GiB", divisor=BYTES_PER_GIB, decimals=1)


@dataclass(frozen=True, kw_only=True)
class MemoryPanel:
    """Curves that share an axis.

    Attributes:
        curves: Telemetry key to its name.
        total: Telemetry key of what there is.
        bound_bytes: The limit, where there is one.
    """

    title: str
    curves: Mapping[str, str]
    total: str
    bound_bytes: float | None = None


def memory_plot(
    samples: Sequence[Sample],
    phases: Sequence[PhaseSpan],
    panel: MemoryPanel,
    size: Size,
    *,
    simulated: bool = False,
) -> str:
    """SVG of the curves over the trial's phases; empty if nothing of it was read."""
    curves = {key: found for key in panel.curves if (found := _curve(samples, key))}
    if not curves:
        return ""
    canvas = Canvas(size, panel.title)
    frame = Frame(left=56, top=62, right=size.width - 12, bottom=size.height - 40)
    start_ns = phases[0].start_ns if phases else samples[0].at_ns
    end_ns = max(samples[-1].at_ns, *(p.end_ns for p in phases), start_ns + 1)
    across = Linear(start_ns, end_ns, frame.left, frame.right)
    tops = [value for curve in curves.values() for _, value in curve]
    total = next((v for s in reversed(samples) if (v := s.values.get(panel.total))), None)
    highest = max([*tops, *(b for b in (total, panel.bound_bytes) if b is not None)])
    # Room for a line's label under the frame's top: over it are the names of the phases.
    ceiling = highest * (frame.bottom - frame.top) / (frame.bottom - frame.top - _LABEL)
    up = Linear(0.0, ceiling, frame.bottom, frame.top)
    _phases(canvas, frame, across, phases)
    frame.grid_y(canvas, up, ticks(0.0, ceiling, _GIB, 4))
    _time_axis(canvas, frame, across, end_ns - start_ns, start_ns)
    canvas.text(8, 16, f"{panel.title} [GiB]", "axis-title")
    if simulated:
        canvas.text(frame.right, 16, SIMULATED, "simulated", "end")
    for css_class, label, value in (
        ("total", "all there is", total), ("limit", "limit", panel.bound_bytes)
    ):  # fmt: skip
        if value is not None:
            canvas.line(frame.left, up(value), frame.right, up(value), css_class)
            canvas.text(frame.left + 4, up(value) - 4, label, f"{css_class}-label")
    at = frame.left if size.width > 500 else 8.0
    for index, (key, curve) in enumerate(curves.items()):
        canvas.polyline([(across(t), up(v)) for t, v in curve], f"curve c{index}")
        canvas.line(at, 31, at + 16, 31, f"curve c{index}")
        canvas.text(at + 21, 35, panel.curves[key], "tick")
        at += 34 + 6.4 * len(panel.curves[key])
    return canvas.svg()


def _curve(samples: Sequence[Sample], key: str) -> list[tuple[int, float]]:
    """At most `_MOST_POINTS` (time, bytes); of a stretch that is drawn as one, the peak."""
    read = [(s.at_ns, v) for s in samples if (v := s.values.get(key)) is not None]
    step = max(1, -(-len(read) // _MOST_POINTS))
    return [max(read[i : i + step], key=lambda point: point[1])
            for i in range(0, len(read), step)]  # fmt: skip


def _phases(canvas: Canvas, frame: Frame, across: Linear, phases: Sequence[PhaseSpan]) -> None:
    """Bands, with their names over the frame: inside it some curve runs through them."""
    for index, phase in enumerate(phases):
        left, right = across(phase.start_ns), across(phase.end_ns)
        if index % 2:
            canvas.rect(left, frame.top, right - left, frame.bottom - frame.top, "band")
        label = phase.name.removeprefix("probe:").replace("_", " ")
        if right - left > 6.2 * len(label) + 4:
            canvas.text((left + right) / 2, frame.top - 5, label, "phase-label", "middle")


def _time_axis(canvas: Canvas, frame: Frame, across: Linear, length_ns: int, start_ns: int) -> None:
    minutes = s_from_ns(length_ns) > 180
    scale = Scale(unit="min" if minutes else "s", divisor=NS_PER_S * (60 if minutes else 1))
    for value, label in ticks(0.0, float(length_ns), scale, 6 if canvas.width > 500 else 3):
        canvas.text(across(start_ns + value), frame.bottom + 16, label, "tick", "middle")
    canvas.text(frame.right, canvas.height - 6, f"time since the trial began [{scale.unit}]",
                "axis-title", "end")  # fmt: skip
