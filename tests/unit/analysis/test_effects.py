"""Effects of single settings and importances, against numbers from elsewhere."""

import numpy as np
import pytest
from scipy import stats

from autotune.analysis.effects import effect_of_setting, effects_of_parameter
from autotune.analysis.importance import MIN_TRIALS, importances
from autotune.records import Configuration, TrialRecord
from autotune.spec.study import Objective
from tests.support.records import record

SPEED = Objective(metric="output_tokens_per_s", direction="maximize")
TTFT = Objective(metric="ttft_8k_ns", direction="minimize")


def trials(figures: dict[str, list[float]]) -> list[TrialRecord]:
    """Trials by the value of parameter `a`; `default` is absent."""
    found = []
    for value, speeds in figures.items():
        configuration = Configuration.of({} if value == "default" else {"a": value})
        for speed in speeds:
            metrics = {SPEED.metric: speed, TTFT.metric: 1e9 / speed}
            found.append(record(len(found), config=configuration, metrics=metrics))
    return found


def test_the_ratio_is_of_geometric_means() -> None:
    """(8 * 2)^(1/2) over (1 * 1)^(1/2) is 4, and 1/4 for what it makes smaller."""
    records = trials({"x": [8.0, 2.0], "default": [1.0, 1.0]})
    speed = effect_of_setting(records, SPEED, "a", "x")
    ttft = effect_of_setting(records, TTFT, "a", "x")
    assert speed is not None
    assert ttft is not None
    assert speed.ratio == pytest.approx(4.0)
    assert ttft.ratio == pytest.approx(0.25)
    assert speed.better
    assert ttft.better


def test_the_interval_is_scipys_welch_interval() -> None:
    """The closed form agrees with scipy.stats.ttest_ind on the same logarithms."""
    one, other = [10.0, 11.0, 12.5], [7.0, 8.5, 9.0, 7.7]
    effect = effect_of_setting(trials({"x": one, "y": other}), SPEED, "a", "x")
    theirs = stats.ttest_ind(np.log(one), np.log(other), equal_var=False).confidence_interval(0.95)
    assert effect is not None
    assert (effect.low, effect.high) == pytest.approx((np.exp(theirs.low), np.exp(theirs.high)))
    assert effect.is_clear


def test_one_trial_a_side_has_no_interval() -> None:
    """A difference of two single trials is told without an interval, and is not clear."""
    effect = effect_of_setting(trials({"x": [10.0], "y": [5.0]}), SPEED, "a", "x")
    assert effect is not None
    assert (effect.low, effect.high, effect.is_clear) == (None, None, False)


def test_a_setting_that_was_always_on_has_no_effect_to_tell() -> None:
    """Without a trial on the other side there is nothing to compare."""
    assert effect_of_setting(trials({"x": [10.0, 11.0]}), SPEED, "a", "x") is None


def test_each_value_that_was_tried_is_compared() -> None:
    """The default is a value like any other."""
    records = trials({"x": [10.0, 11.0], "y": [5.0, 5.5], "default": [7.0, 7.1]})
    effects = effects_of_parameter(records, SPEED, "a")
    assert [e.value for e in effects] == ["x", "y", "default"]


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
