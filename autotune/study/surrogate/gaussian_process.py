"""A Gaussian process with a length for each column, fitted with priors on all it learns.

scikit-learn's regressor with an optimiser of our own: it maximises the marginal likelihood times
priors that keep a score of trials from being over-fitted (lengths: Hvarfner, Hellsten, Nardi,
ICML 2024, section 4, which grow with the square root of the number of columns).
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from autotune.study.surrogate.features import FloatArray

MOST_TO_FIT: Final = 120
"""Trials that hyperparameters are fitted to; all of them are conditioned on."""
_ITERATIONS: Final = 25
_BOUNDS: Final = (1e-6, 1e4)


class GaussianProcess:
    """Regression on encoded configurations.

    Args:
        noise_sd: What the noise is believed to be, in units of the targets.
        signal_sd: What the targets are believed to vary by.
    """

    def __init__(self, *, noise_sd: float, signal_sd: float) -> None:
        self._noise, self._signal = noise_sd, signal_sd
        self._theta: FloatArray | None = None
        self._model: Any = None  # scikit-learn has no types

    def fit(self, rows: FloatArray, targets: FloatArray, *, tune: bool = True) -> None:
        """Learn; hyperparameters anew only if asked to, from where they were."""
        kernel = self._kernel(rows.shape[1])
        if self._theta is not None and len(self._theta) == len(kernel.theta):
            kernel = kernel.clone_with_theta(self._theta)
        if tune:
            chosen = slice(max(0, len(rows) - MOST_TO_FIT), None)
            kernel = self._tuned(kernel, rows[chosen], targets[chosen])
        self._theta = kernel.theta
        self._model = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None)
        self._model.fit(rows, targets)

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the noise-free value."""
        if not len(rows):
            return np.zeros(0), np.zeros(0)
        mean, deviation = self._model.predict(rows, return_std=True)
        noise = math.exp(self._theta[-1]) if self._theta is not None else 0.0
        return np.asarray(mean), np.sqrt(np.maximum(deviation**2 - noise, 1e-12))

    def leave_one_out(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean and deviation predicted for each target from the others, and the target.

        Rasmussen and Williams, Gaussian Processes for Machine Learning, section 5.4.2.
        """
        lower = self._model.L_
        inverse = np.linalg.inv(lower @ lower.T)
        variance = 1 / np.diag(inverse)
        targets = np.asarray(self._model.y_train_)
        return targets - self._model.alpha_ * variance, np.sqrt(variance), targets

    def _kernel(self, width: int) -> Any:
        return ConstantKernel(self._signal**2, _BOUNDS) * Matern(
            np.full(width, _typical_length(width)), _BOUNDS, nu=2.5
        ) + WhiteKernel(self._noise**2, _BOUNDS)

    def _tuned(self, kernel: Any, rows: FloatArray, targets: FloatArray) -> Any:
        def optimise(
            objective: Callable[..., Any], start: FloatArray, bounds: FloatArray
        ) -> tuple[FloatArray, float]:
            def penalised(theta: FloatArray) -> tuple[float, FloatArray]:
                value, gradient = objective(theta)
                penalty, slope = self._penalty(theta)
                return value + penalty, gradient + slope

            found = minimize(
                penalised, start, jac=True, method="L-BFGS-B", bounds=bounds,
                options={"maxiter": _ITERATIONS},
            )  # fmt: skip
            return found.x, found.fun

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=optimise)
            model.fit(rows, targets)
        return model.kernel_

    def _penalty(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Minus the logarithm of the priors, normal on the logarithm of each."""
        width = len(theta) - 2
        centre = np.full(len(theta), math.log(_typical_length(width)))
        centre[0], centre[-1] = 2 * math.log(self._signal), 2 * math.log(self._noise)
        spread = np.full(len(theta), 1.0)
        spread[0], spread[-1] = 2.0, 1.0
        scaled = (theta - centre) / spread
        return 0.5 * float(scaled @ scaled), scaled / spread


def _typical_length(width: int) -> float:
    return 0.5 * math.sqrt(width)
