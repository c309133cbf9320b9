"""Whether the configurations of a study differ at all."""

import random

import pytest

from autotune.analysis.importance import MIN_TRIALS
from autotune.analysis.spread import spread_of
from autotune.records import Configuration, TrialRecord
from tests.support.records import record

SPEED = "output_tokens_per_s"


def study(effect: float, *, noise: float) -> list[TrialRecord]:
    """Ten configurations, each measured three times; every second one is so much faster."""
    random_ = random.Random(4)  # noqa: S311 - a sample, no secret
    return [
        record(
            3 * i + j,
            config=Configuration.of({"a": i}),
            metrics={SPEED: 690.0 * (1 + effect * (i % 2)) * random_.gauss(1, noise)},
        )
        for i in range(10)
        for j in range(3)
    ]


def test_what_repeats_do_by_themselves_is_no_spread() -> None:
    """Thirty draws about one mean with 1% noise."""
    found = spread_of(study(0.0, noise=0.01), SPEED)

    assert found is not None
    assert found.is_noise
    assert 670 < found.low < 690 < found.high < 710


def test_a_setting_that_does_something_is_a_spread() -> None:
    """Half of the configurations are a tenth faster."""
    found = spread_of(study(0.1, noise=0.01), SPEED)

    assert found is not None
    assert not found.is_noise
    assert found.high / found.low == pytest.approx(1.1, rel=0.02)


def test_without_repeats_the_assumed_noise_is_the_measure() -> None:
    """684 to 708 tok/s over single trials is what an assumed 3% may do."""
    records = [
        record(i, config=Configuration.of({"a": i}), metrics={SPEED: 684.0 + 2 * i})
        for i in range(MIN_TRIALS + 1)
    ]
    found = spread_of(records, SPEED)

    assert found is not None
    assert found.is_noise
    assert spread_of(records[:1], SPEED) is None
