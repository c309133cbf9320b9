"""Hypervolume and its reference point."""

import numpy as np
import pytest

from autotune.analysis.hypervolume import hypervolume, hypervolume_history, reference_point
from autotune.records import TrialKind
from autotune.spec.study import Objective
from tests.support.records import record

OBJECTIVES = (
    Objective(metric="output_tokens_per_s", direction="maximize"),
    Objective(metric="ttft_8k_ns", direction="minimize"),
)


def trial(number: int, speed: float, ttft: float, kind: TrialKind = TrialKind.SEARCH) -> object:
    """A feasible trial with two figures."""
    metrics = {"output_tokens_per_s": speed, "ttft_8k_ns": ttft}
    return record(number, metrics=metrics, kind=kind)


def test_two_boxes_by_hand() -> None:
    """Boxes of 2 by 1 and 1 by 2 that share a unit square cover 3."""
    losses = np.asarray([[1.0, 2.0], [2.0, 1.0]])
    assert hypervolume(losses, np.asarray([3.0, 3.0])) == pytest.approx(3.0)


def test_nothing_covers_nothing() -> None:
    """No trials, no volume."""
    assert hypervolume(np.zeros((0, 2)), np.asarray([1.0, 1.0])) == 0.0


def test_the_reference_lies_beyond_the_worst_and_the_baseline() -> None:
    """A tenth of the range beyond the worst figure of each objective."""
    records = [trial(0, 10.0, 5.0, TrialKind.BASELINE), trial(1, 20.0, 6.0), trial(2, 30.0, 3.0)]
    assert reference_point(records, OBJECTIVES) == pytest.approx([-10 + 2.0, 6 + 0.3])


def test_the_history_rises_to_one() -> None:
    """Each trial adds or keeps; the last stands at the whole."""
    records = [trial(0, 10.0, 5.0), trial(1, 20.0, 4.0), trial(2, 5.0, 6.0), trial(3, 30.0, 9.0)]
    history = hypervolume_history(records, OBJECTIVES)
    shares = [share for _, share in history]
    assert [number for number, _ in history] == [0, 1, 2, 3]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_no_history_without_figures() -> None:
    """A study in which nothing was measured has none."""
    assert hypervolume_history([], OBJECTIVES) == ()
