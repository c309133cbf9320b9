"""Where the time of a study went, and which trials it went into."""

from collections.abc import Mapping, Sequence
from typing import Final

from autotune.records import OutcomeStatus, TrialRecord
from autotune.report.quantities import Scale, duration_text
from autotune.report.svg.canvas import Canvas, Frame, Linear, Size, number, ticks
from autotune.units import NS_PER_S, s_from_ns

GROUPS: Final[Mapping[str, str]] = {
    "start": "engine start",
    "probe": "probes",
    "wait": "waiting for memory",
    "other": "everything else",
}
"""Groups of phases, by the class that colours them."""

_STARTING: Final = ("deploying", "starting")
_WAITING: Final = ("waiting", "waiting_for_memory", "stopping")


def group_of(phase: str) -> str:
    """The group that a phase belongs to."""
    if phase.startswith("probe:"):
        return "probe"
    if phase in _STARTING:
        return "start"
    return "wait" if phase in _WAITING else "other"


def seconds_by_phase(records: Sequence[TrialRecord]) -> dict[str, float]:
    """Phase to seconds over all trials, the longest first."""
    total: dict[str, float] = {}
    for record in records:
        for phase in record.phases:
            total[phase.name] = total.get(phase.name, 0.0) + s_from_ns(phase.duration_ns)
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def trial_columns(records: Sequence[TrialRecord], size: Size) -> str:
    """A column per trial, as high as it took long, by group of phases; empty without phases.

    Trials that did not end as measured carry a mark below their column.
    """
    timed = [record for record in records if record.phases]
    if not timed:
        return ""
    canvas = Canvas(size, "time of each trial by phase")
    frame = Frame(left=52, top=30, right=size.width - 8, bottom=size.height - 34)
    longest = max(sum(p.duration_ns for p in record.phases) for record in timed)
    scale = _time_scale(longest)
    up = Linear(0.0, longest * 1.04, frame.bottom, frame.top)
    frame.grid_y(canvas, up, ticks(0.0, longest, scale, 4))
    canvas.text(frame.left - 44, 16, f"time per trial [{scale.unit}]", "axis-title")
    step = (frame.right - frame.left) / len(timed)
    bar = max(0.6, step * 0.82)
    paths: dict[str, list[str]] = {group: [] for group in GROUPS}
    for index, record in enumerate(timed):
        x, y = frame.left + index * step, frame.bottom
        for group, length in _grouped(record).items():
            top = y - (up(0.0) - up(length))
            box = f"M{number(x)} {number(y)}h{number(bar)}V{number(top)}h-{number(bar)}z"
            paths[group].append(box)
            y = top
    for group, boxes in paths.items():
        canvas.add("path", d="".join(boxes), class_=f"phase {group}")
    _outcomes(canvas, frame, timed, step, bar)
    _hover(canvas, frame, timed, step)
    return canvas.svg()


def _time_scale(longest_ns: float) -> Scale:
    seconds = longest_ns / NS_PER_S
    if seconds < 120:
        return Scale(unit="s", divisor=NS_PER_S)
    return Scale(unit="min", divisor=60 * NS_PER_S)


def _grouped(record: TrialRecord) -> dict[str, int]:
    lengths = dict.fromkeys(GROUPS, 0)
    for phase in record.phases:
        lengths[group_of(phase.name)] += phase.duration_ns
    return lengths


def _outcomes(
    canvas: Canvas, frame: Frame, records: Sequence[TrialRecord], step: float, bar: float
) -> None:
    boxes = []
    for index, record in enumerate(records):
        if record.outcome.status is not OutcomeStatus.MEASURED:
            x = frame.left + index * step
            boxes.append(f"M{number(x)} {number(frame.bottom + 3)}h{number(bar)}v4h-{number(bar)}z")
    if boxes:
        canvas.add("path", d="".join(boxes), class_="phase failed")
    canvas.text(frame.left, frame.bottom + 24, f"trial {records[0].number}", "tick")
    canvas.text(frame.right, frame.bottom + 24, f"trial {records[-1].number}", "tick", "end")


def _hover(canvas: Canvas, frame: Frame, records: Sequence[TrialRecord], step: float) -> None:
    """One invisible box per trial, for the pointer."""
    for index, record in enumerate(records):
        total = s_from_ns(sum(p.duration_ns for p in record.phases))
        hint = f"trial {record.number}: {duration_text(total)}, {record.outcome.status.value}"
        canvas.add(
            "rect", x=frame.left + index * step, y=float(frame.top), width=float(step),
            height=float(frame.bottom - frame.top), class_="touch", data_trial=record.number,
            data_hint=hint,
        )  # fmt: skip
