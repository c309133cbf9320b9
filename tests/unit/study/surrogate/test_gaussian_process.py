"""The surrogate's regression."""

import numpy as np

from autotune.study.surrogate.gaussian_process import (
    FIRST_KEPT,
    LATEST_KEPT,
    GaussianProcess,
)


def test_a_long_study_is_conditioned_on_its_first_and_latest_trials() -> None:
    """Its memory does not grow with the square of the trials; what it knows stays good."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(size=(600, 3))
    targets = rows @ np.array([1.0, -0.5, 0.2])
    process = GaussianProcess(noise_sd=0.02, signal_sd=0.5)

    process.fit(rows, targets)

    assert len(process.leave_one_out()[2]) == FIRST_KEPT + LATEST_KEPT
    mean, _ = process.predict(rows[300:310])
    assert np.abs(mean - targets[300:310]).max() < 0.05
