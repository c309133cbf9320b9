"""The Pareto front that is shown: configurations, each by the mean of the trials that tell it.

One trial is one start, and the luckiest of several starts beats the mean of its own configuration.
So membership goes by the means that tables and plots show, rounded as they are shown: no row of a
table is beaten by another one, and no hundredth of a millisecond decides.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autotune.analysis.measurements import Measured, fairly, grouped
from autotune.analysis.pareto import is_on_front, losses_of
from autotune.metrics import Unit, metric_named
from autotune.records import TrialRecord
from autotune.spec.study import Objective

_SIGNIFICANT_DIGITS = 3


def points_of(groups: Sequence[Measured], objectives: Sequence[Objective]) -> tuple[Measured, ...]:
    """Each configuration by the trials that its shown figures are means of."""
    return tuple(fairly(group, objectives) for group in groups)


def on_front(points: Sequence[Measured], objectives: Sequence[Objective]) -> tuple[Measured, ...]:
    """Points that no other one beats in the shown figures, by their trials' numbers."""
    rows = [[rounded(o.metric, v) for o, v in zip(objectives, p.values, strict=True)]
            for p in points]  # fmt: skip
    front = is_on_front(losses_of(rows, objectives)) if rows else np.zeros(0, dtype=np.bool_)
    kept = (point for point, on in zip(points, front, strict=True) if on)
    return tuple(sorted(kept, key=lambda point: point.latest.number))


def front_numbers(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[int, ...]:
    """The front of some records: the numbers of the trials that stand for it."""
    points = points_of(grouped(records, objectives), objectives)
    return tuple(point.latest.number for point in on_front(points, objectives))


def as_shown(point: Measured, objectives: Sequence[Objective]) -> TrialRecord:
    """The record that stands for a configuration, with the means as its objectives' figures."""
    means = {o.metric: value for o, value in zip(objectives, point.values, strict=True)}
    return replace(point.latest, metrics={**point.latest.metrics, **means})


def rounded(tag: str, value: float) -> float:
    """A figure to the digits that tables show: whole tokens, else three significant digits.

    Of what is shown without decimals (rates from 100 on) every whole number.
    """
    if value == 0 or not math.isfinite(value):
        return value
    unit = metric_named(tag).unit
    decimals = _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value)))
    if unit in {Unit.TOKENS, Unit.COUNT}:
        return float(round(value))
    return float(round(value, decimals if unit is Unit.NS else max(0, decimals)))
