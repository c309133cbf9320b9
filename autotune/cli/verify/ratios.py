"""Ratios of repeated measurements, with their intervals: arithmetic of logarithms.

Few repeats tell little of the noise, so intervals are Student's t with the degrees of freedom
that the variance rests on: at three rounds a normal distribution would call one good verification
in ten a difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

from scipy.special import stdtrit


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio with its interval."""

    value: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether it differs from 1 beyond its interval."""
        return not self.low <= 1.0 <= self.high


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Variance of a logarithm between two starts, and the degrees of freedom it rests on."""

    variance: float
    freedom: float

    def with_repeats(self, groups: Sequence[Sequence[float]]) -> "Spread":
        """Pooled with the spread inside each group of logarithms."""
        repeated = [logs for logs in groups if len(logs) > 1]
        squares = math.fsum(pvariance(logs) * len(logs) for logs in repeated)
        freedom = self.freedom + sum(len(logs) - 1 for logs in repeated)
        return Spread(variance=(self.freedom * self.variance + squares) / freedom, freedom=freedom)

    def ratio(
        self, above: Sequence[Sequence[float]], below: Sequence[Sequence[float]], *, level: float
    ) -> Ratio | None:
        """Products of geometric means divided; None if one of them is empty.

        Args:
            above: Logarithms whose means are added.
            below: Logarithms whose means are taken away.
            level: Two-sided, of the interval.
        """
        if not all((*above, *below)):
            return None
        log = math.fsum(map(fmean, above)) - math.fsum(map(fmean, below))
        share = math.fsum(1 / len(logs) for logs in (*above, *below))
        reach = float(stdtrit(self.freedom, 1 - level / 2)) * math.sqrt(self.variance * share)
        return Ratio(value=math.exp(log), low=math.exp(log - reach), high=math.exp(log + reach))
