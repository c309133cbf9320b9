"""Trials that cannot reach the front any more."""

import math

import numpy as np
import pytest

from autotune.spec.study import Objective
from autotune.study.surrogate.outlook import Outlook

SPEED = Objective(metric="output_tokens_per_s", direction="maximize")
WAIT = Objective(metric="ttft_8k_ns", direction="minimize")
FRONT = np.asarray([[-math.log(1000), math.log(1e9)], [-math.log(600), math.log(0.5e9)]])


def outlook(speed: float, wait_ns: float, spread: float = 0.05) -> Outlook:
    """Predictions for a configuration, and a front of two points."""
    return Outlook(
        objectives=(SPEED, WAIT),
        signs=(-1.0, 1.0),
        mean=np.asarray([-math.log(speed), math.log(wait_ns)]),
        deviation=np.asarray([spread, spread]),
        front=FRONT,
        noise_sd=0.04,
    )


def test_a_trial_far_behind_the_front_is_given_up() -> None:
    """Half the throughput at a wait that cannot make up for it."""
    assert outlook(500, 1.5e9).hopeless({"output_tokens_per_s": 500.0}) is not None


def test_a_trial_that_may_make_up_for_it_goes_on() -> None:
    """Little throughput, but perhaps the shortest wait of all."""
    assert outlook(500, 0.45e9).hopeless({"output_tokens_per_s": 500.0}) is None


def test_what_is_within_noise_of_the_front_goes_on() -> None:
    """5% under the best at a wait of the same size, with 4% noise."""
    assert outlook(950, 1e9).hopeless({"output_tokens_per_s": 950.0}) is None


def test_where_little_is_known_the_trial_goes_on() -> None:
    """A wait that may be anything."""
    assert outlook(500, 1.5e9, spread=0.7).hopeless({"output_tokens_per_s": 500.0}) is None


@pytest.mark.parametrize(
    "metrics", [{}, {"output_tokens_per_s": None}, {"output_tokens_per_s": 1.0, "ttft_8k_ns": 9e9}]
)
def test_only_a_trial_measured_in_part_is_judged(metrics: dict[str, float | None]) -> None:
    """Before the first objective there is nothing to say, after the last nothing to save."""
    assert outlook(500, 1.5e9).hopeless(metrics) is None
