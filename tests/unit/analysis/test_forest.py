"""The forest, against scikit-learn's and against what can be computed by hand."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from autotune.analysis.forest import MOST_VALUES, codes_of, grow, known_share, losses

VALUES = (2, 3, 4, 6, 8)
"""How many each column has, as the settings of a study have."""


def drawn(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of whole numbers; a target with an interaction, and columns that do nothing."""
    random = np.random.default_rng(11)
    features = np.column_stack([random.integers(n, size=rows) for n in VALUES]).astype(float)
    target = features[:, 3] * 0.2 + features[:, 0] * (features[:, 2] > 1) * 0.5
    return features, target + random.normal(0, noise, rows)


def shares(values: np.ndarray) -> np.ndarray:
    """Made to sum to one, what is under zero left out."""
    positive = np.clip(values, 0, None)
    return positive / positive.sum()


@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_unseen_trials_are_predicted_as_well_as_by_scikit_learn(noise: float) -> None:
    """Out-of-bag R2 of 400 rows, to 0.02; forests of other seeds differ by up to 0.01."""
    features, target = drawn(400, noise)
    theirs = RandomForestRegressor(
        n_estimators=100, min_samples_leaf=2, oob_score=True, random_state=0
    ).fit(features, target)
    codes = codes_of(features)
    mine = grow(codes, target, np.random.default_rng(0))
    assert known_share(mine, codes, target) == pytest.approx(theirs.oob_score_, abs=0.02)


def test_columns_are_worth_what_they_are_to_scikit_learn_s_forest() -> None:
    """Rows that neither forest has seen, each column shuffled: shares agree to 0.03."""
    features, target = drawn(800, 0.1)
    known, unseen = slice(0, 400), slice(400, 800)
    theirs = RandomForestRegressor(n_estimators=100, min_samples_leaf=2, random_state=0)
    theirs.fit(features[known], target[known])
    random = np.random.default_rng(1)

    def error(rows: np.ndarray) -> float:
        return float(np.sum((theirs.predict(rows) - target[unseen]) ** 2))

    wanted = []
    for column in range(len(VALUES)):
        rows = features[unseen].copy()
        wanted.append(-10 * error(rows))
        for _ in range(10):
            rows[:, column] = random.permutation(rows[:, column])
            wanted[-1] += error(rows)
    codes, seen = codes_of(features[known]), target[known]
    found = losses(grow(codes, seen, random), codes, seen, random)
    assert shares(found) == pytest.approx(shares(np.asarray(wanted)), abs=0.03)


def test_independent_causes_share_as_the_squares_of_what_they_do() -> None:
    """Of 3a + b over fair coins, shuffling costs 2 * 9 * var(a) and 2 * var(b): nine to one."""
    random = np.random.default_rng(2)
    features = random.integers(2, size=(2_000, 2)).astype(float)
    target = 3 * features[:, 0] + features[:, 1]
    codes = codes_of(features)
    found = losses(grow(codes, target, random), codes, target, random)
    assert found[0] / found[1] == pytest.approx(9, rel=0.1)


def test_columns_that_say_the_same_share_what_they_do() -> None:
    """A setting and its double: neither is left with nothing because the other was asked first."""
    random = np.random.default_rng(4)
    one = random.integers(4, size=300).astype(float)
    codes = codes_of(np.column_stack([one, one]))
    target = one + random.normal(0, 0.1, 300)
    found = shares(losses(grow(codes, target, random), codes, target, random))
    assert min(found) > 0.2


def test_a_column_with_many_values_is_told_apart_by_groups() -> None:
    """A line through 1,000 values is known to 99%."""
    one = np.linspace(0, 1, 1_000)
    codes = codes_of(one[:, None])
    assert len(set(codes[:, 0])) == MOST_VALUES
    assert bool(np.all(np.diff(codes[:, 0]) >= 0))
    forest = grow(codes, one, np.random.default_rng(0))
    assert known_share(forest, codes, one) > 0.99


def test_leaves_hold_two_rows_or_more() -> None:
    """Of three rows none can be cut off alone; the forest then knows one mean per tree."""
    codes = codes_of(np.asarray([[0.0], [1.0], [2.0]]))
    forest = grow(codes, np.asarray([0.0, 1.0, 2.0]), np.random.default_rng(0))
    assert bool(np.all(forest.column == -1))
