"""What is believed of untried configurations: objectives, and whether they are feasible.

Objectives are learnt on a logarithm, as what a prior's prediction gets wrong:
`log y = mean + slope * log prior + GP(configuration)`, the slope drawn towards 1. Beside it a
model without the prior is kept, and each objective follows whichever predicts left-out trials
better, so that a bad prior is dropped. Constraints are learnt from their signed values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autotune.records import Configuration
from autotune.study.outcomes import ANSWERS, GPU_MEMORY, HOST_MEMORY, KV_CACHE, STABILITY, START
from autotune.study.surrogate.features import FloatArray
from autotune.study.surrogate.gaussian_process import GaussianProcess
from autotune.study.surrogate.refusals import RefusalModel

Prior = Callable[[Configuration], Mapping[str, float] | None]
"""Predicts metrics (raw, by tag) and memory margins (as in `MARGINS`); None if it cannot."""

YES_OR_NO: Final = (START, STABILITY, ANSWERS)
MARGINS: Final = {
    GPU_MEMORY: ("gpu_headroom_gib", 1.0),
    KV_CACHE: ("gpu_margin_gib", 1.0),
    HOST_MEMORY: ("host_margin_gib", 10.0),
}
"""Constraint to the prior's margin, and the GiB that weigh 1 (as in `outcomes`)."""

NOISE_SD: Final = 0.04
"""What the noise of a figure's logarithm is believed to be before repeats have told."""
_SIGNAL_SD: Final = 0.4
_SLOPE_SD: Final = 0.3
_PRIOR_ERROR_SD: Final = 0.25
_EFFECT_SD: Final = 0.06
"""What a setting that was never tried may add to a logarithm, beside what the prior says."""
MEASURED: Final = frozenset({GPU_MEMORY})
"""Constraints whose margin is measured in every trial that answers, so that the next step's is
known before one has been violated. The others' margins are the memory model's own word."""
_MARGIN_SD: Final = 0.4
"""How far a prior's constraint value may be off before a trial has shown it."""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Predictions for candidates.

    Attributes:
        mean: (candidates, objectives), minimised: minus the logarithm of what is maximised.
        deviation: Standard deviations of the same shape.
        feasible: (candidates,): probability that every constraint is kept.
    """

    mean: FloatArray
    deviation: FloatArray
    feasible: FloatArray


class ObjectiveModel:
    """One objective, with and without the prior."""

    def __init__(self) -> None:
        self._with = GaussianProcess(
            noise_sd=NOISE_SD, signal_sd=_PRIOR_ERROR_SD, effect_sd=_EFFECT_SD
        )
        self._without = GaussianProcess(
            noise_sd=NOISE_SD, signal_sd=_SIGNAL_SD, effect_sd=_EFFECT_SD
        )
        self._line = (0.0, 0.0)
        self._mean = 0.0
        self._fitted = False
        self.uses_prior = False

    def fit(self, rows: FloatArray, targets: FloatArray, prior: FloatArray, *, tune: bool) -> None:
        """Learn from trials; from fewer than two nothing is learnt.

        Args:
            rows: Encoded configurations.
            targets: Losses.
            prior: The prior's losses; NaN where it has none.
            tune: Whether to fit hyperparameters anew.
        """
        self._fitted = len(targets) > 1
        if not self._fitted:
            return
        self._mean = float(np.mean(targets))
        self._without.fit(rows, targets - self._mean, tune=tune)
        known = np.isfinite(prior)
        self.uses_prior = int(known.sum()) > 1
        if not self.uses_prior:
            return
        self._line = _line(prior[known], targets[known])
        error = targets[known] - self._on_line(prior[known])
        self._with.fit(rows[known], error, tune=tune)
        self.uses_prior = self._evidence_for_prior(known) >= 0

    def predict(self, rows: FloatArray, prior: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of losses; before it has learnt, the prior's word."""
        if not self._fitted:
            told = np.isfinite(prior)
            worst = float(np.max(prior[told])) if told.any() else 0.0
            return np.where(told, prior, worst), np.full(len(prior), _PRIOR_ERROR_SD)
        known = np.isfinite(prior)
        if self.uses_prior and known.all():  # then the model without it has no say
            error, spread = self._with.predict(rows)
            return self._on_line(prior) + error, spread
        mean, deviation = self._without.predict(rows)
        mean = mean + self._mean
        if not self.uses_prior:
            return mean, deviation
        error, spread = self._with.predict(rows)
        informed = self._on_line(np.where(known, prior, 0.0)) + error
        return np.where(known, informed, mean), np.where(known, spread, deviation)

    def _on_line(self, prior: FloatArray) -> FloatArray:
        offset, slope = self._line
        return offset + slope * prior

    def _evidence_for_prior(self, known: NDArray[np.bool_]) -> float:
        """Log score of left-out trials with the prior, less that without it."""
        return float(_log_scores(self._with).sum() - _log_scores(self._without)[known].sum())


def _log_scores(model: GaussianProcess) -> FloatArray:
    mean, deviation, targets = model.leave_one_out()
    return np.asarray(-0.5 * ((targets - mean) / deviation) ** 2 - np.log(deviation))


def _line(prior: FloatArray, targets: FloatArray) -> tuple[float, float]:
    """Offset and slope by ridge regression towards slope 1."""
    centred, moved = prior - prior.mean(), targets - targets.mean()
    weight = (_PRIOR_ERROR_SD / _SLOPE_SD) ** 2
    slope = float((centred @ moved + weight) / (centred @ centred + weight))
    return float(targets.mean() - slope * prior.mean()), slope


class ConstraintModel:
    """One constraint; kept where a normal prediction of its value is under zero."""

    def __init__(self) -> None:
        self._model = GaussianProcess(noise_sd=0.15, signal_sd=1.0)
        self._mean = 0.0
        self._line: tuple[float, float] | None = None

    def fit(self, rows: FloatArray, values: FloatArray, prior: FloatArray, *, tune: bool) -> None:
        """Learn from signed values; the prior's are NaN where it has none."""
        self._line = _line(prior, values) if np.isfinite(prior).all() else None
        self._mean = min(float(np.mean(values)), -0.5)
        self._model.fit(rows, values - self._base(prior), tune=tune)

    def kept(self, rows: FloatArray, prior: FloatArray) -> FloatArray:
        """Probability that it is kept."""
        mean, deviation = self._model.predict(rows)
        return np.asarray(ndtr(-(mean + self._base(prior)) / np.maximum(deviation, 0.05)))

    def _base(self, prior: FloatArray) -> FloatArray:
        if self._line is None:
            return np.full(len(prior), self._mean)
        offset, slope = self._line
        return np.where(np.isfinite(prior), offset + slope * prior, self._mean)


@dataclass(frozen=True, kw_only=True)
class Points:
    """Configurations as the models see them.

    Attributes:
        rows: (points, columns), encoded.
        prior_losses: (points, objectives), the prior's; NaN where it has none.
        prior_constraints: (points, constraints), likewise.
    """

    configurations: Sequence[Configuration]
    rows: FloatArray
    prior_losses: FloatArray
    prior_constraints: FloatArray

    def where(self, chosen: NDArray[np.bool_]) -> "Points":
        """Some of them."""
        return Points(
            configurations=[c for c, k in zip(self.configurations, chosen, strict=True) if k],
            rows=self.rows[chosen],
            prior_losses=self.prior_losses[chosen],
            prior_constraints=self.prior_constraints[chosen],
        )


class Model:
    """Objectives and constraints together.

    Args:
        objectives: How many there are.
        keys: Names of the constraints; `YES_OR_NO` ones are learnt as refusals.
        parameters: Names of the space's parameters.
    """

    def __init__(self, objectives: int, keys: Sequence[str], parameters: Sequence[str]) -> None:
        self._objectives = [ObjectiveModel() for _ in range(objectives)]
        self._signed = {i: ConstraintModel() for i, k in enumerate(keys) if k not in YES_OR_NO}
        self._blunt = [i for i, k in enumerate(keys) if k in YES_OR_NO]
        self._measured = {i for i, key in enumerate(keys) if key in MEASURED}
        self._refusals = RefusalModel(parameters)
        self._active: list[int] = []

    def fit(
        self, points: Points, losses: FloatArray, constraints: FloatArray, *, tune: bool
    ) -> None:
        """Learn from every trial.

        Args:
            points: What was tried.
            losses: (points, objectives); NaN where not measured.
            constraints: (points, constraints), <= 0 is kept; NaN where nothing was learnt.
            tune: Whether to fit hyperparameters anew.
        """
        for index, model in enumerate(self._objectives):
            known = np.isfinite(losses[:, index])
            some = points.where(known)
            model.fit(some.rows, losses[known, index], some.prior_losses[:, index], tune=tune)
        self._active = []
        for index, constraint in self._signed.items():
            known = np.isfinite(constraints[:, index])
            values = constraints[known, index]
            margins = index in self._measured and len(np.unique(values)) > 2
            if margins or (values > 0).any():
                some = points.where(known)
                self._active.append(index)
                constraint.fit(some.rows, values, some.prior_constraints[:, index], tune=tune)
        blunt = constraints[:, self._blunt]
        refused = np.asarray(np.any(blunt > 0, axis=1))
        started = np.asarray(np.any(blunt < 0, axis=1)) & ~refused
        self._refusals.fit(
            points.where(started).configurations, points.where(refused).configurations
        )

    def predict(self, points: Points) -> Belief:
        """Beliefs for candidates."""
        pairs = [
            model.predict(points.rows, points.prior_losses[:, index])
            for index, model in enumerate(self._objectives)
        ]
        feasible = 1 - self._refusals.refused(points.configurations)
        for index, constraint in self._signed.items():
            prior = points.prior_constraints[:, index]
            if index in self._active:
                feasible *= constraint.kept(points.rows, prior)
            else:  # nothing seen of it so far: what the prior says, taken with care
                feasible *= np.where(np.isfinite(prior), ndtr(-prior / _MARGIN_SD), 1.0)
        return Belief(
            mean=np.column_stack([mean for mean, _ in pairs]),
            deviation=np.column_stack([deviation for _, deviation in pairs]),
            feasible=feasible,
        )


def margins_as_constraints(predicted: Mapping[str, float], keys: Sequence[str]) -> list[float]:
    """A prior's memory margins as values of the study's constraints; NaN for the others."""
    row = []
    for key in keys:
        name, scale = MARGINS.get(key, ("", 1.0))
        margin = predicted.get(name)
        row.append(math.nan if margin is None else float(np.clip(-margin / scale, -3, 3)))
    return row
