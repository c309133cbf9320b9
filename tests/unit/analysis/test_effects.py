"""Effects of single settings and importances, against numbers from elsewhere."""

import math

import numpy as np
import pytest

from autotune.analysis.effects import Effect, change, effects_by_parameter
from autotune.analysis.importance import MIN_TRIALS, importances
from autotune.records import Applied, Configuration, Scalar, TrialKind, TrialRecord
from autotune.spec.study import Objective
from tests.support.records import record

SPEED = Objective(metric="output_tokens_per_s", direction="maximize")
TTFT = Objective(metric="ttft_8k_ns", direction="minimize")


def trial(number: int, speed: float, **values: Scalar) -> TrialRecord:
    """A feasible trial of a configuration, of which the server reads nothing back."""
    metrics = {SPEED.metric: speed, TTFT.metric: 1e9 / speed}
    kind = TrialKind.SEARCH if values else TrialKind.BASELINE
    made = record(number, kind=kind, config=Configuration.of(values), metrics=metrics)
    return TrialRecord(**{**made.__dict__, "applied": None})


def effect_of_setting(
    records: list[TrialRecord], objective: Objective, parameter: str, value: Scalar
) -> Effect | None:
    """Of the effects of a parameter, that of a value."""
    found = effects_by_parameter(records, objective, [parameter])[parameter]
    return next((effect for effect in found if effect.value == value), None)


def test_the_ratio_is_of_geometric_means_of_one_pair() -> None:
    """(8 * 2)^(1/2) over (1 * 1)^(1/2) is 4, and 1/4 for what it makes smaller."""
    records = [trial(0, 1.0), trial(1, 1.0), trial(2, 8.0, a="x"), trial(3, 2.0, a="x")]
    speed = effect_of_setting(records, SPEED, "a", "x")
    ttft = effect_of_setting(records, TTFT, "a", "x")
    assert speed is not None
    assert ttft is not None
    assert speed.ratio == pytest.approx(4.0)
    assert ttft.ratio == pytest.approx(0.25)
    assert (speed.having, speed.lacking) == ((2, 3), (0, 1))
    assert speed.better
    assert ttft.better


def test_trials_that_differ_in_something_else_too_tell_nothing() -> None:
    """All with `a` are fast, and all of them have `b` as well: nothing is known of `a`."""
    records = [trial(0, 1.0), *(trial(1 + i, 2.0 + i, a="x", b=i) for i in range(5))]
    assert effect_of_setting(records, SPEED, "a", "x") is None


def test_a_value_is_held_against_the_default_and_not_against_other_values() -> None:
    """X is 1.2 times the default; that y is 100 times as fast does not matter to it."""
    records = [trial(0, 10.0), trial(1, 12.0, a="x"), trial(2, 1000.0, a="y")]
    effect = effect_of_setting(records, SPEED, "a", "x")
    assert effect is not None
    assert effect.ratio == pytest.approx(1.2)
    assert [e.value for e in effects_by_parameter(records, SPEED, ["a"])["a"]] == ["x", "y"]


def test_pairs_are_pooled_by_their_repeats() -> None:
    """Ratios 2 (one trial a side, weight 1/2) and 4 (two a side, weight 1): 2^(1/3) * 4^(2/3)."""
    records = [
        trial(0, 1.0), trial(1, 2.0, a="x"),
        trial(2, 1.0, b=1), trial(3, 1.0, b=1),
        trial(4, 4.0, a="x", b=1), trial(5, 4.0, a="x", b=1),
    ]  # fmt: skip
    effect = effect_of_setting(records, SPEED, "a", "x")
    assert effect is not None
    assert effect.ratio == pytest.approx(2 ** (1 / 3) * 4 ** (2 / 3))


def test_the_interval_is_two_standard_errors_of_the_assumed_noise() -> None:
    """Without repeats 3% a trial: 2 * 0.03 * sqrt(2) either way, in logarithms."""
    effect = effect_of_setting([trial(0, 1.0), trial(1, 1.1, a="x")], SPEED, "a", "x")
    assert effect is not None
    half = 2 * 0.03 * math.sqrt(2)
    ends = (1.1 * math.exp(-half), 1.1 * math.exp(half))
    assert (effect.low, effect.high) == pytest.approx(ends)
    assert effect.is_clear


def test_what_the_server_runs_with_anyway_is_no_difference() -> None:
    """`b=16` is what the default's server reads back, so the two differ in `a` alone."""

    def read_back(made: TrialRecord, **settings: Scalar) -> TrialRecord:
        return TrialRecord(**{**made.__dict__, "applied": Applied(settings=settings)})

    records = [read_back(trial(0, 1.0), b=16), read_back(trial(1, 2.0, a="x", b=16), b=16)]
    effect = effect_of_setting(records, SPEED, "a", "x")
    assert effect is not None
    assert effect.ratio == pytest.approx(2.0)


def test_a_setting_that_was_always_on_has_no_effect_to_tell() -> None:
    """Without a trial on the other side there is nothing to compare."""
    assert effect_of_setting([trial(1, 10.0, a="x")], SPEED, "a", "x") is None


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.88, "-12%"), (1.034, "+3.4%"), (1.0, "+0.0%"), (2.1, "x2.10")]
)
def test_ratios_are_told_as_people_do(ratio: float, text: str) -> None:
    """Percent up to half as much again, then a factor."""
    assert change(ratio) == text


def varied(count: int) -> list[TrialRecord]:
    """Trials in which `batch` decides, `backend` matters a little and `idle` nothing."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        batch, backend, idle = (
            int(rng.choice([16, 64, 256])),
            rng.choice(["A", "B"]),
            int(rng.integers(3)),
        )
        speed = batch**0.5 * (1.1 if backend == "A" else 1.0) * np.exp(rng.normal(0, 0.01))
        values = {"batch": batch, "backend": str(backend), "idle": idle}
        found.append(
            record(number, config=Configuration.of(values), metrics={SPEED.metric: float(speed)})
        )
    return found


def test_importances_rank_the_causes() -> None:
    """The parameter that decides comes first, the one that does nothing last; shares sum to 1."""
    found = importances(varied(60), SPEED, ["idle", "backend", "batch"])
    assert [i.parameter for i in found] == ["batch", "backend", "idle"]
    assert sum(i.share for i in found) == pytest.approx(1.0)
    assert found[0].share > 0.8


def test_too_few_trials_have_no_importances() -> None:
    """Under the minimum nothing is claimed, nor where nothing varies."""
    assert importances(varied(MIN_TRIALS - 1), SPEED, ["batch", "idle"]) == ()
    assert importances(varied(60), SPEED, ["unknown"]) == ()


def test_pure_noise_has_no_importances() -> None:
    """When left-out trials cannot be predicted, no parameter is called important."""
    rng = np.random.default_rng(5)
    records = [
        record(i, config=Configuration.of({"a": int(rng.integers(9))}),
               metrics={SPEED.metric: float(np.exp(rng.normal()))})
        for i in range(40)
    ]  # fmt: skip
    assert importances(records, SPEED, ["a"]) == ()
