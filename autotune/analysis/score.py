"""One figure for a configuration: the weighted sum of its objectives' logarithms, and its noise."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from autotune.analysis.measurements import Measured
from autotune.analysis.noise import ASSUMED_SD, ASSUMED_WEIGHT, Noise
from autotune.metrics import Unit, metric_named
from autotune.spec.study import Objective, Preference

_MINOR: Final = 0.1
"""Weight of the objectives that are not preferred: they decide between near-equals."""


def weights_of(objectives: Sequence[Objective], prefer: Preference) -> tuple[float, ...]:
    """Weight of each objective: all equal when balanced, or if none is of the preferred sort."""
    wanted = {
        "throughput": {Unit.TOKENS_PER_S, Unit.REQUESTS_PER_S},
        "latency": {Unit.NS},
        "context": {Unit.TOKENS},
        "balanced": set[Unit](),
    }[prefer]
    hits = [metric_named(o.metric).unit in wanted for o in objectives]
    if not any(hits):
        return tuple(1.0 for _ in objectives)
    return tuple(1.0 if hit else _MINOR for hit in hits)


def score_of(
    logs: Sequence[float], objectives: Sequence[Objective], weights: Sequence[float]
) -> float:
    """Weighted sum of logarithms, signed so that more is better."""
    signs = [1.0 if objective.direction == "maximize" else -1.0 for objective in objectives]
    return math.fsum(w * sign * log for w, sign, log in zip(weights, signs, logs, strict=True))


def noise_of_score(
    groups: Sequence[Measured], objectives: Sequence[Objective], weights: Sequence[float]
) -> Noise:
    """Standard deviation of the score of one trial, over repeats.

    Of the score itself, for a start that was slow is slow in every figure: the objectives' own
    noises are not independent. Drawn towards the sum of the assumed variances as each of theirs
    is (`analysis/noise.py`).
    """
    squares, freedom = 0.0, 0
    for group in groups:
        scores = [score_of(row, objectives, weights) for row in group.rows]
        squares += float(np.var(scores)) * len(scores)
        freedom += len(scores) - 1
    assumed = math.fsum(weight**2 for weight in weights) * ASSUMED_SD**2
    variance = (ASSUMED_WEIGHT * assumed + squares) / (ASSUMED_WEIGHT + freedom)
    return Noise(relative_sd=math.sqrt(variance), repeats=freedom)
