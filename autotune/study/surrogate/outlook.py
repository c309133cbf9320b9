"""Whether a trial that has been measured in part can still reach the front.

What was measured counts with its noise, what was not with what is predicted of it, both taken at
their best: two standard deviations. If a point of the front is better still in every objective,
the rest of the trial would cost time for nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotune.spec.study import Objective
from autotune.study.surrogate.features import FloatArray

CONFIDENCE: Final = 2.0
"""Standard deviations: each objective is this good or better in 2 of 100 cases."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is expected of one configuration, and what it must reach.

    Attributes:
        objectives: Of the study.
        signs: -1 for what is maximised, 1 for what is minimised.
        mean: Predicted losses, `sign * log(value)`.
        deviation: Their standard deviations.
        front: (points, objectives), losses of the front as the model sees it, noise averaged out.
        noise_sd: Of a measurement, on the logarithm.
    """

    objectives: Sequence[Objective]
    signs: Sequence[float]
    mean: FloatArray
    deviation: FloatArray
    front: FloatArray
    noise_sd: float

    def hopeless(self, metrics: Mapping[str, float | None]) -> str | None:
        """Why the trial cannot reach the front any more; None if it may, or is measured whole.

        Args:
            metrics: Measured so far, raw.
        """
        best = self.mean - CONFIDENCE * self.deviation
        known = 0
        for index, objective in enumerate(self.objectives):
            value = metrics.get(objective.metric)
            if value is not None and value > 0 and math.isfinite(value):
                best[index] = self.signs[index] * math.log(value) - CONFIDENCE * self.noise_sd
                known += 1
        if known in {0, len(self.objectives)} or not len(self.front):
            return None
        if not np.all(self.front < best, axis=1).any():
            return None
        return "it cannot reach the front any more, whatever is still to be measured"
