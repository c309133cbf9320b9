"""How much a figure moves when nothing changes, from configurations that were measured again.

Standard deviations are relative (of the logarithm), pooled over every configuration with
repeats, and drawn towards `ASSUMED_SD` with the weight of two degrees of freedom, for two or
three repeats alone tell little (conjugate scaled-inverse-chi-square estimate; Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 2.6).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autotune.analysis.measurements import logs_by_configuration
from autotune.records import TrialRecord
from autotune.spec.study import Objective

ASSUMED_SD: Final = 0.03
"""Relative standard deviation of a serving metric between two starts, before any was repeated."""
ASSUMED_WEIGHT: Final = 2.0
SIGNIFICANT: Final = 2.0
"""Standard errors that a difference must exceed to count: about 95% of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Relative noise of one metric.

    Attributes:
        relative_sd: Standard deviation of the metric's logarithm.
        repeats: Degrees of freedom it rests on; 0 means that it is assumed, not measured.
    """

    relative_sd: float
    repeats: int

    @property
    def freedom(self) -> float:
        """Degrees of freedom for comparisons; what is assumed is taken as known."""
        return self.repeats + ASSUMED_WEIGHT if self.repeats else math.inf

    @property
    def floor(self) -> float:
        """Smallest relative difference between two single trials that counts."""
        return self.floor_of(1, 1)

    def floor_of(self, trials: int, others: int) -> float:
        """Smallest relative difference that counts between means over so many trials."""
        repeats = 1 / max(1, trials) + 1 / max(1, others)
        return SIGNIFICANT * self.relative_sd * math.sqrt(repeats)


def noise_floor(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> dict[str, Noise]:
    """Noise of each objective."""
    return {objective.metric: noise_of(records, objective.metric) for objective in objectives}


def noise_of(records: Sequence[TrialRecord], metric: str) -> Noise:
    """Noise of a metric over feasible repeats."""
    return pooled(logs_by_configuration(records, metric))


def pooled(logs: Mapping[Any, Sequence[float]]) -> Noise:
    """Noise of a metric's logarithms, by groups of what should be the same."""
    squares, freedom = 0.0, 0
    for values in logs.values():
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
    variance = (ASSUMED_WEIGHT * ASSUMED_SD**2 + squares) / (ASSUMED_WEIGHT + freedom)
    return Noise(relative_sd=math.sqrt(variance), repeats=freedom)
