"""What one setting does by itself: trials with it against trials without it.

Ratios of geometric means over feasible trials, with a 95% interval by Welch's t on logarithms.
Settings were not assigned at random by a search that learns, so this describes the trials; it
does not prove a cause. The finalists' comparison does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # not scipy.stats, which takes a second to import

from autotune.metrics import metric_named
from autotune.records import Scalar, TrialRecord
from autotune.spec.space import DEFAULT
from autotune.spec.study import Objective

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Effect of a setting on a metric.

    Attributes:
        ratio: Geometric mean with the setting over that without it.
        low: Lower end of the 95% interval of the ratio; None with fewer than two trials a side.
        high: Its upper end.
        better: Whether the ratio points the way the objective wants.
    """

    metric: str
    parameter: str
    value: Scalar
    ratio: float
    low: float | None
    high: float | None
    trials_with: int
    trials_without: int
    better: bool

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes "no effect"."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def sentence(self) -> str:
        """For people."""
        title = metric_named(self.metric).title
        return (
            f"{title} x{self.ratio:.2f} over {self.trials_with} trials with it "
            f"against {self.trials_without} without"
        )


def value_of(record: TrialRecord, parameter: str) -> Scalar:
    """A parameter's value in a trial; `default` where it was left to the engine."""
    value = record.configuration.get(parameter)
    return DEFAULT if value is None else value


def effect_of_setting(
    records: Sequence[TrialRecord], objective: Objective, parameter: str, value: Scalar
) -> Effect | None:
    """Compare feasible trials with a setting against those without; None if a side is empty."""
    with_it: list[float] = []
    without: list[float] = []
    for record in records:
        figure = record.metrics.get(objective.metric)
        if not record.is_feasible or figure is None or figure <= 0:
            continue
        side = with_it if value_of(record, parameter) == value else without
        side.append(math.log(figure))
    if not with_it or not without:
        return None
    difference = float(np.mean(with_it) - np.mean(without))
    low, high = _interval(with_it, without)
    return Effect(
        metric=objective.metric,
        parameter=parameter,
        value=value,
        ratio=math.exp(difference),
        low=low,
        high=high,
        trials_with=len(with_it),
        trials_without=len(without),
        better=(difference > 0) == (objective.direction == "maximize"),
    )


def effects_of_parameter(
    records: Sequence[TrialRecord], objective: Objective, parameter: str
) -> tuple[Effect, ...]:
    """The effect of each value that was tried."""
    tried = dict.fromkeys(value_of(r, parameter) for r in records if r.is_feasible)
    effects = (effect_of_setting(records, objective, parameter, value) for value in tried)
    return tuple(effect for effect in effects if effect is not None)


def _interval(one: Sequence[float], other: Sequence[float]) -> tuple[float | None, float | None]:
    """Welch's interval of the ratio of geometric means (Welch 1947)."""
    if len(one) < 2 or len(other) < 2:
        return None, None
    shares = [float(np.var(side, ddof=1)) / len(side) for side in (one, other)]
    spread = math.fsum(shares)
    difference = float(np.mean(one) - np.mean(other))
    if spread == 0:
        return math.exp(difference), math.exp(difference)
    freedom = spread**2 / math.fsum(
        share**2 / (len(side) - 1) for share, side in zip(shares, (one, other), strict=True)
    )
    half = float(special.stdtrit(freedom, (1 + _LEVEL) / 2)) * math.sqrt(spread)
    return math.exp(difference - half), math.exp(difference + half)
