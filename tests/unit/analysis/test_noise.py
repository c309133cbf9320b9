"""Noise from repeats."""

import numpy as np
import pytest

from autotune.analysis.noise import ASSUMED_SD, noise_of
from autotune.records import Configuration
from tests.support.records import record

METRIC = "output_tokens_per_s"


def repeats(values: list[float], name: str = "a", first: int = 0) -> list[object]:
    """Trials of one configuration with these figures."""
    configuration = Configuration.of({name: 1})
    return [
        record(first + i, config=configuration, metrics={METRIC: value})
        for i, value in enumerate(values)
    ]


def test_without_repeats_it_is_assumed_and_says_so() -> None:
    """One trial each: the assumed figure, resting on nothing."""
    noise = noise_of([*repeats([10.0]), *repeats([12.0], "b", 5)], METRIC)
    assert (noise.relative_sd, noise.repeats) == (pytest.approx(ASSUMED_SD), 0)


def test_many_repeats_decide() -> None:
    """With 400 repeats of 8% noise the estimate is within a tenth of it."""
    values = np.exp(np.random.default_rng(1).normal(3.0, 0.08, 400)).tolist()
    noise = noise_of(repeats(values), METRIC)
    assert noise.relative_sd == pytest.approx(0.08, rel=0.1)
    assert noise.repeats == 399


def test_differences_between_configurations_are_no_noise() -> None:
    """Two configurations far apart, each repeated exactly: less than what is assumed."""
    noise = noise_of([*repeats([10.0] * 4), *repeats([90.0] * 4, "b", 9)], METRIC)
    assert noise.relative_sd < ASSUMED_SD
    assert noise.repeats == 6


def test_missing_figures_are_left_out() -> None:
    """None is not measured; it is neither noise nor zero."""
    records = [
        *repeats([10.0]),
        record(7, config=Configuration.of({"a": 1}), metrics={METRIC: None}),
    ]
    assert noise_of(records, METRIC).repeats == 0


def test_the_floor_is_the_difference_of_two_single_trials() -> None:
    """Two standard errors of a difference: 2 * sqrt(2) * sd."""
    noise = noise_of(repeats([10.0]), METRIC)
    assert noise.floor == pytest.approx(2 * 2**0.5 * ASSUMED_SD)


def test_means_over_more_trials_have_a_lower_floor() -> None:
    """Two standard errors of 3%: times sqrt(1/1 + 1/1) for one trial each, sqrt(2/3) for three."""
    noise = noise_of(repeats([10.0]), METRIC)
    assert noise.floor == pytest.approx(2 * 0.03 * 2**0.5)
    assert noise.floor_of(3, 3) == pytest.approx(2 * 0.03 * (2 / 3) ** 0.5)
