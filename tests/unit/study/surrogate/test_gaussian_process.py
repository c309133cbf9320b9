"""Regression, against another's implementation and against fits that leave a trial out."""

import math

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from autotune.study.surrogate.features import FloatArray
from autotune.study.surrogate.gaussian_process import GaussianProcess
from autotune.study.surrogate.model import ObjectiveModel

COLUMNS, TRIALS = 3, 40
NOISE, SIGNAL = 0.1, 0.7


@pytest.fixture
def rows() -> FloatArray:
    """Trials, encoded."""
    return np.random.default_rng(1).uniform(size=(TRIALS, COLUMNS))


@pytest.fixture
def targets(rows: FloatArray) -> FloatArray:
    """A smooth function of them, with some noise."""
    noise = np.random.default_rng(2).normal(0, NOISE, TRIALS)
    return np.asarray(np.sin(4 * rows[:, 0]) + rows[:, 1] + noise)


def fitted(rows: FloatArray, targets: FloatArray) -> GaussianProcess:
    """With hyperparameters where the priors have their middle."""
    process = GaussianProcess(noise_sd=NOISE, signal_sd=SIGNAL)
    process.fit(rows, targets, tune=False)
    return process


def test_it_predicts_what_scikit_learn_predicts(rows: FloatArray, targets: FloatArray) -> None:
    """Mean and deviation of the noise-free value, from the same covariance."""
    kernel = ConstantKernel(SIGNAL**2) * Matern(0.5 * math.sqrt(COLUMNS), nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=NOISE**2, optimizer=None).fit(rows, targets)
    asked = np.random.default_rng(3).uniform(size=(7, COLUMNS))
    mean, deviation = fitted(rows, targets).predict(asked)
    wanted_mean, wanted_deviation = theirs.predict(asked, return_std=True)
    assert mean == pytest.approx(wanted_mean, rel=1e-6)
    assert deviation == pytest.approx(wanted_deviation, rel=1e-4)


def test_a_trial_left_out_is_predicted_from_the_others(
    rows: FloatArray, targets: FloatArray
) -> None:
    """As by a fit without it, the noise of a measurement on top."""
    mean, deviation, told = fitted(rows, targets).leave_one_out()
    assert told == pytest.approx(targets)
    for index in range(0, TRIALS, 9):
        others = np.arange(TRIALS) != index
        process = fitted(rows[others], targets[others])
        alone, spread = process.predict(rows[index : index + 1])
        assert mean[index] == pytest.approx(alone[0], rel=1e-6)
        assert deviation[index] == pytest.approx(math.hypot(spread[0], NOISE), rel=1e-4)


def test_what_the_prior_knows_is_predicted_alike_in_any_company(
    rows: FloatArray, targets: FloatArray
) -> None:
    """Beside a candidate that it does not know, or not."""
    model = ObjectiveModel()
    model.fit(rows, targets, targets + 0.01 * rows[:, 2], tune=False)
    assert model.uses_prior
    asked, prior = rows[:5] * 0.9, targets[:5]
    mixed = np.where(np.arange(5) == 3, np.nan, prior)
    mean, deviation = model.predict(asked, prior)
    some_mean, some_deviation = model.predict(asked, mixed)
    known = np.isfinite(mixed)
    assert mean[known] == pytest.approx(some_mean[known])
    assert deviation[known] == pytest.approx(some_deviation[known])
    assert some_deviation[~known] > deviation[~known]
