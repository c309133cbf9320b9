"""Whether an objective's values differ by more than the noise at all.

One-way analysis of variance: the mean square between configurations over the variance of one
trial, against the F distribution (Montgomery, Design and Analysis of Experiments, section 3.3).
Where that ratio is no larger than luck makes it, a model of the values explains luck, and nothing
may be called important.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from autotune.analysis.measurements import logs_by_configuration
from autotune.analysis.noise import noise_of
from autotune.records import TrialRecord

_LEVEL: Final = 0.05
_MOST_FREEDOM: Final = 1e9
"""Of a noise that is assumed and taken as known."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far apart configurations are in one metric.

    Attributes:
        low: Lowest mean of a configuration, raw.
        high: Highest one.
        is_noise: Whether luck makes differences as large.
    """

    metric: str
    low: float
    high: float
    is_noise: bool


def spread_of(records: Sequence[TrialRecord], metric: str) -> Spread | None:
    """The spread over feasible configurations; None for fewer than two of them."""
    groups = list(logs_by_configuration(records, metric).values())
    if len(groups) < 2:
        return None
    means = np.asarray([math.fsum(logs) / len(logs) for logs in groups])
    counts = np.asarray([len(logs) for logs in groups])
    centre = float(np.average(means, weights=counts))
    between = float(np.sum(counts * (means - centre) ** 2)) / (len(groups) - 1)
    noise = noise_of(records, metric)
    freedom = min(noise.freedom, _MOST_FREEDOM)
    bound = float(special.fdtri(len(groups) - 1, freedom, 1 - _LEVEL))
    return Spread(
        metric=metric,
        low=math.exp(float(means.min())),
        high=math.exp(float(means.max())),
        is_noise=between <= bound * noise.relative_sd**2,
    )
