"""Expected hypervolume improvement, against moocore and against sampling."""

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.study.surrogate.improvement import boxes_outside, expected_improvement

_POINT = st.integers(0, 6)


def volume(losses: np.ndarray, reference: np.ndarray) -> float:
    """Moocore's hypervolume, 0 for no points."""
    return float(moocore.hypervolume(losses, ref=reference)) if len(losses) else 0.0


@st.composite
def fronts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Some points (ties and dominated ones among them) and one candidate, in 1 to 4 objectives."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.tuples(*[_POINT] * width), max_size=12))
    candidate = draw(st.tuples(*[_POINT] * width))
    points = np.asarray(rows, dtype=np.float64).reshape(len(rows), width)
    return points, np.asarray(candidate, dtype=np.float64)


@given(fronts())
def test_a_certain_candidate_gains_what_moocore_says(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    """With next to no uncertainty the expectation is the exact gain in hypervolume."""
    points, candidate = drawn
    reference = np.full(len(candidate), 5.0)
    lower, upper = boxes_outside(points, reference)
    gain = expected_improvement(
        candidate[None, :], np.full((1, len(candidate)), 1e-9), lower, upper
    )
    inside = points[np.all(points < reference, axis=1)]
    both = np.vstack([inside, candidate]) if np.all(candidate < reference) else inside
    assert gain[0] == pytest.approx(volume(both, reference) - volume(inside, reference), abs=1e-6)


@given(fronts())
def test_boxes_are_disjoint_and_cover_what_is_not_dominated(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    """A point is in exactly one box if nothing dominates it, and in none otherwise."""
    points, candidate = drawn
    reference = np.full(len(candidate), 5.0)
    lower, upper = boxes_outside(points, reference)
    where = candidate - 0.5  # between the grid's lines
    hits = np.all((where >= lower) & (where < upper), axis=1).sum()
    dominated = any(np.all(point <= where) for point in points)
    assert hits == int(bool(np.all(where < reference)) and not dominated)


def test_the_expectation_is_the_mean_of_samples() -> None:
    """200,000 draws of an uncertain candidate gain on average what the formula says."""
    rng = np.random.default_rng(0)
    front = np.asarray([[1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0]])
    reference = np.full(3, 4.0)
    mean, deviation = np.asarray([1.8, 1.7, 1.9]), np.asarray([0.5, 0.8, 0.3])
    lower, upper = boxes_outside(front, reference)
    exact = expected_improvement(mean[None, :], deviation[None, :], lower, upper)[0]
    draws = rng.normal(mean, deviation, (200_000, 3))
    sides = np.minimum(draws[:, None, :], upper)
    gains = np.prod(np.clip(upper - np.maximum(sides, lower), 0, None), axis=2)
    gains = np.where(np.all(draws[:, None, :] < upper, axis=2), gains, 0).sum(axis=1)
    assert exact == pytest.approx(gains.mean(), rel=0.02)


def test_more_uncertainty_promises_more() -> None:
    """Of two candidates on the front, the less certain one may gain more."""
    front = np.asarray([[1.0, 1.0]])
    lower, upper = boxes_outside(front, np.asarray([2.0, 2.0]))
    mean = np.asarray([[1.0, 1.0], [1.0, 1.0]])
    gains = expected_improvement(mean, np.asarray([[0.1, 0.1], [0.5, 0.5]]), lower, upper)
    assert gains[1] > gains[0] > 0


def test_log_normal_predictions_gain_the_mean_of_samples_on_their_own_scale() -> None:
    """A throughput (maximised) and a latency: 400,000 draws of both, valued by moocore's boxes."""
    rng = np.random.default_rng(1)
    signs = (-1.0, 1.0)
    front, reference = np.asarray([[-120.0, 2.0], [-90.0, 1.0]]), np.asarray([-50.0, 3.0])
    logs, deviation = np.asarray([np.log(110.0), np.log(1.4)]), np.asarray([0.3, 0.2])
    mean = np.asarray(signs) * logs
    lower, upper = boxes_outside(front, reference)
    exact = expected_improvement(mean[None, :], deviation[None, :], lower, upper, signs)[0]
    draws = np.asarray(signs) * np.exp(rng.normal(logs, deviation, (400_000, 2)))
    sides = np.clip(upper - np.maximum(draws[:, None, :], lower), 0, None)
    assert exact == pytest.approx(np.prod(sides, axis=2).sum(axis=1).mean(), rel=0.01)
