"""A Gaussian process with a length for each column, fitted with priors on all it learns.

Its covariance is a Matérn one of order 5/2, linear effects beside it, and noise. It maximises the
marginal likelihood (Rasmussen and Williams 2006, section 5.4.1) times priors that keep a score of
trials from being over-fitted (lengths: Hvarfner, Hellsten, Nardi, ICML 2024, section 4, which grow
with the square root of the number of columns). Written out rather than taken from scikit-learn:
with scores of trials its regressor spends ten times as long on itself as on the algebra.
"""

import math
from typing import Final

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from autotune.study.surrogate.features import FloatArray

MOST_TO_FIT: Final = 120
"""Trials that hyperparameters are fitted to: the latest."""
_ITERATIONS: Final = 25
_BOUNDS: Final = (math.log(1e-6), math.log(1e4))
_JITTER: Final = 1e-8
_ROOT5: Final = math.sqrt(5)


class GaussianProcess:
    """Regression on encoded configurations.

    Args:
        noise_sd: What the noise is believed to be, in units of the targets.
        signal_sd: What the targets are believed to vary by.
        effect_sd: What a single setting is believed to add, wherever the rest stands. It is not
            fitted: that the settings tried so far do nothing says nothing of one never tried.
    """

    def __init__(self, *, noise_sd: float, signal_sd: float, effect_sd: float = 0.0) -> None:
        self._noise, self._signal, self._effect = noise_sd, signal_sd, effect_sd
        # Logarithms: variance of the signal, a length per column, variance of the noise.
        self._theta: FloatArray | None = None
        self._rows: FloatArray = np.zeros((0, 0))
        self._targets: FloatArray = np.zeros(0)
        self._triangle: FloatArray = np.zeros(0)
        self._alpha: FloatArray = np.zeros(0)

    def fit(self, rows: FloatArray, targets: FloatArray, *, tune: bool = True) -> None:
        """Learn; hyperparameters anew only if asked to, from where they were."""
        theta = self._theta
        if theta is None or len(theta) != rows.shape[1] + 2:
            theta = self._centre(rows.shape[1])
        if tune:
            latest = slice(max(0, len(rows) - MOST_TO_FIT), None)
            theta = self._tuned(theta, rows[latest], targets[latest])
        self._theta, self._rows, self._targets = theta, rows, targets
        covariance = self._covariance(rows, rows) + self._noise_variance * np.eye(len(rows))
        lower = cholesky(covariance, lower=True)
        self._triangle = lower[np.tri(len(lower), dtype=bool)]
        self._alpha = cho_solve((lower, True), targets)

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the noise-free value."""
        if not len(rows) or self._theta is None:
            return np.zeros(len(rows)), np.full(len(rows), self._signal)
        across = self._covariance(rows, self._rows)
        mean = across @ self._alpha
        explained = solve_triangular(self._lower(), across.T, lower=True, overwrite_b=True)
        itself = math.exp(self._theta[0]) + self._effect**2 * (rows**2).sum(axis=1)
        variance = itself - np.square(explained, out=explained).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def leave_one_out(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean and deviation predicted for each target from the others, and the target.

        Rasmussen and Williams, Gaussian Processes for Machine Learning, section 5.4.2.
        """
        inverse = cho_solve((self._lower(), True), np.eye(len(self._rows)))
        variance = 1 / np.diag(inverse)
        return self._targets - self._alpha * variance, np.sqrt(variance), self._targets

    def _lower(self) -> FloatArray:
        """The covariance's Cholesky factor; kept without its zeros, half of all that is kept."""
        size = len(self._rows)
        lower = np.zeros((size, size), order="F")
        lower[np.tri(size, dtype=bool)] = self._triangle
        return lower

    @property
    def _noise_variance(self) -> float:
        return _JITTER + (math.exp(self._theta[-1]) if self._theta is not None else 0.0)

    def _covariance(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Of noise-free values: exp(theta0 - d) * (1 + d + d^2 / 3) and linear effects.

        In few arrays, for candidates times trials are the largest that a study needs.
        """
        theta = self._centre(one.shape[1]) if self._theta is None else self._theta
        lengths = np.exp(theta[1:-1])
        distance = cdist(one / lengths, other / lengths)
        distance *= _ROOT5
        found = 1 + distance
        linear = np.square(distance)
        linear /= 3
        found += linear
        np.subtract(theta[0], distance, out=distance)
        found *= np.exp(distance, out=distance)
        np.matmul(one, other.T, out=linear)
        linear *= self._effect**2
        found += linear
        return np.asarray(found)

    def _tuned(self, start: FloatArray, rows: FloatArray, targets: FloatArray) -> FloatArray:
        squares = (rows.T[:, :, None] - rows.T[:, None, :]) ** 2
        linear = self._effect**2 * (rows @ rows.T)
        eye = np.eye(len(rows))

        def loss(theta: FloatArray) -> tuple[float, FloatArray]:
            """Minus the logarithm of likelihood and priors, and its gradient."""
            inverse_lengths = np.exp(-2 * theta[1:-1])
            distance = np.sqrt(5 * np.tensordot(inverse_lengths, squares, 1))
            decay = np.exp(theta[0] - distance)
            smooth = decay * (1 + distance + distance**2 / 3)
            noise = math.exp(theta[-1])
            lower = cholesky(smooth + linear + (noise + _JITTER) * eye, lower=True)
            alpha = cho_solve((lower, True), targets)
            pull = cho_solve((lower, True), eye) - np.outer(alpha, alpha)
            slope = np.empty_like(theta)
            slope[0] = 0.5 * float((pull * smooth).sum())
            by_length = pull * decay * (1 + distance) * (5 / 3)
            slope[1:-1] = 0.5 * inverse_lengths * np.tensordot(squares, by_length, 2)
            slope[-1] = 0.5 * noise * float(np.trace(pull))
            value = 0.5 * float(targets @ alpha) + float(np.log(np.diag(lower)).sum())
            penalty, more = self._penalty(theta)
            return value + penalty, slope + more

        found = minimize(
            loss, start, jac=True, method="L-BFGS-B", bounds=[_BOUNDS] * len(start),
            options={"maxiter": _ITERATIONS},
        )  # fmt: skip
        return np.asarray(found.x)

    def _centre(self, width: int) -> FloatArray:
        """What hyperparameters are drawn towards."""
        centre = np.full(width + 2, math.log(_typical_length(width)))
        centre[0], centre[-1] = 2 * math.log(self._signal), 2 * math.log(self._noise)
        return centre

    def _penalty(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Minus the logarithm of the priors, normal on the logarithm of each."""
        spread = np.full(len(theta), 1.0)
        spread[0] = 2.0
        scaled = (theta - self._centre(len(theta) - 2)) / spread
        return 0.5 * float(scaled @ scaled), scaled / spread


def _typical_length(width: int) -> float:
    return 0.5 * math.sqrt(width)
