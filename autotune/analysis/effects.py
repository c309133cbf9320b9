"""What one setting does by itself, from matched pairs: all else equal, each side averaged.

A pair's ratio is of geometric means over repeats. Pairs are pooled with the weight of their
repeats, 1 / (1/n + 1/m); the interval is that of the study's own noise (`analysis/noise.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.measurements import baseline_of, fairly, grouped, logs_of
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_of
from autotune.analysis.pairs import MatchedPair, holds, matched_pairs, read_back, value_of
from autotune.metrics import metric_named
from autotune.records import Scalar, TrialRecord
from autotune.spec.space import DEFAULT
from autotune.spec.study import Objective


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Effect of a setting on a metric, all else equal.

    Attributes:
        ratio: Geometric mean with the setting over that without it.
        low: Lower end of the 95% interval of the ratio.
        high: Its upper end.
        better: Whether the ratio points the way the objective wants.
        having: Numbers of the trials with it.
        lacking: Numbers of the trials without it.
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
    having: tuple[int, ...] = ()
    lacking: tuple[int, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes "no effect"."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def sentence(self) -> str:
        """For people: what the trials without it measured against those with it."""
        title = metric_named(self.metric).title
        return f"{title} {self.without} without it ({trials(self.lacking)})"

    @property
    def without(self) -> str:
        """What its removal does: "-12% (-15 to -9)"."""
        told = change(1 / self.ratio)
        if self.low is None or self.high is None:
            return told
        low, high = 1 / self.high, 1 / self.low
        if told.endswith("%"):
            return f"{told} ({percent(low)} to {percent(high)})"
        return f"{told} ({low:.2f} to {high:.2f})"


def change(ratio: float) -> str:
    """A ratio for people: "-12%", or "x2.10" where it is more than half as much again."""
    return f"{percent(ratio)}%" if 2 / 3 < ratio < 1.5 else f"x{ratio:.2f}"


def percent(ratio: float) -> str:
    """A ratio as a signed percentage without its sign: "+4"."""
    return f"{100 * (ratio - 1):+.1f}" if abs(ratio - 1) < 0.1 else f"{100 * (ratio - 1):+.0f}"


def trials(numbers: Sequence[int]) -> str:
    """Trials by number: "trial 31", "trials 31, 33"."""
    shown = ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")
    return f"trial {shown}" if len(numbers) == 1 else f"trials {shown}"


def effect_of(
    pairs: Sequence[MatchedPair], metric: str, value: Scalar, noise: Noise, *, lower_is_better: bool
) -> Effect | None:
    """Pool pairs; None if none of them measured the metric on both sides."""
    total, weight = 0.0, 0.0
    having: dict[int, None] = {}
    lacking: dict[int, None] = {}
    for pair in pairs:
        mine, theirs = (logs_of(s.records, metric) for s in (pair.having, pair.lacking))
        if not mine or not theirs:
            continue
        share = 1 / (1 / len(mine) + 1 / len(theirs))
        total += share * (math.fsum(mine) / len(mine) - math.fsum(theirs) / len(theirs))
        weight += share
        having |= dict.fromkeys(pair.having.numbers)
        lacking |= dict.fromkeys(pair.lacking.numbers)
    if weight == 0:
        return None
    difference, half = total / weight, SIGNIFICANT * noise.relative_sd / math.sqrt(weight)
    return Effect(
        metric=metric,
        parameter=pairs[0].parameter,
        value=value,
        ratio=math.exp(difference),
        low=math.exp(difference - half),
        high=math.exp(difference + half),
        trials_with=len(having),
        trials_without=len(lacking),
        better=(difference < 0) == lower_is_better,
        having=tuple(sorted(having)),
        lacking=tuple(sorted(lacking)),
    )


def effects_by_parameter(
    records: Sequence[TrialRecord], objective: Objective, parameters: Sequence[str]
) -> dict[str, tuple[Effect, ...]]:
    """For each parameter the effects of the values that were tried, against the baseline's."""
    groups = [fairly(group, [objective]) for group in grouped(records, [objective])]
    baseline, noise = baseline_of(records), noise_of(records, objective.metric)
    feasible = [record for record in records if record.is_feasible]
    found: dict[str, tuple[Effect, ...]] = {}
    for parameter in parameters:
        against = values_of_default(parameter, baseline)
        tried = dict.fromkeys(value_of(record, parameter) for record in feasible)
        values = [value for value in tried if value not in against]
        pairs = matched_pairs(groups, parameter, values, against)
        effects = (_effect(pairs, objective, value, noise) for value in values)
        found[parameter] = tuple(effect for effect in effects if effect is not None)
    return found


def values_of_default(parameter: str, baseline: TrialRecord | None) -> tuple[Scalar, ...]:
    """What a parameter is in the baseline: as asked for, and as its server read it back."""
    if baseline is None:
        return (DEFAULT,)
    back = read_back(baseline, parameter)
    return (value_of(baseline, parameter), *(() if back is None else (back,)))


def _effect(
    pairs: Sequence[MatchedPair], objective: Objective, value: Scalar, noise: Noise
) -> Effect | None:
    """Of one value, of all pairs those that have it."""
    return effect_of(
        [pair for pair in pairs if holds(pair.having.latest, pair.parameter, (value,))],
        objective.metric,
        value,
        noise,
        lower_is_better=objective.direction == "minimize",
    )
