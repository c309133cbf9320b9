"""The front, against a definition written out in the test."""

from dataclasses import replace

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.analysis.front import front_numbers
from autotune.analysis.pareto import is_on_front, losses_of
from autotune.records import Outcome, OutcomeStatus
from autotune.spec.study import Objective
from tests.support.records import record

OBJECTIVES = (
    Objective(metric="output_tokens_per_s", direction="maximize"),
    Objective(metric="ttft_8k_ns", direction="minimize"),
)


def trial(number: int, speed: float | None, ttft: float | None) -> object:
    """A feasible trial with two figures."""
    return record(number, metrics={"output_tokens_per_s": speed, "ttft_8k_ns": ttft})


def test_the_front_of_a_worked_example() -> None:
    """Fast and slow, slow and fast, and one between are kept; a dominated one is not."""
    records = [trial(0, 10, 1), trial(1, 20, 2), trial(2, 30, 3), trial(3, 19, 2), trial(4, 30, 4)]
    assert front_numbers(records, OBJECTIVES) == (0, 1, 2)


def test_equal_trials_are_both_on_the_front() -> None:
    """Neither of two equal trials dominates the other."""
    records = [trial(0, 10, 1), trial(1, 10, 1)]
    assert front_numbers(records, OBJECTIVES) == (0, 1)


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_missing_objective_is_not_on_the_front(missing: float | None) -> None:
    """A figure that was not measured, or is none, neither wins nor is compared."""
    records = [trial(0, 10, 1), trial(1, 99, missing)]
    assert front_numbers(records, OBJECTIVES) == (0,)


@pytest.mark.parametrize(
    "status", [OutcomeStatus.INFEASIBLE, OutcomeStatus.FAILED, OutcomeStatus.SCREENED]
)
def test_only_feasible_trials_count(status: OutcomeStatus) -> None:
    """The best figures of a trial that broke a limit are worth nothing."""
    broken = replace(trial(1, 99, 0.1), outcome=Outcome(status=status))
    assert front_numbers([trial(0, 10, 1), broken], OBJECTIVES) == (0,)


def test_losses_point_down() -> None:
    """What is maximised is negated, what is minimised is kept."""
    assert losses_of([[10.0, 1.0]], OBJECTIVES).tolist() == [[-10.0, 1.0]]


def test_no_trials_no_front() -> None:
    """An empty study has an empty front of the right width."""
    assert front_numbers([], OBJECTIVES) == ()
    assert losses_of([], OBJECTIVES).shape == (0, 2)


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=25))
def test_it_agrees_with_moocore(rows: list[tuple[int, ...]]) -> None:
    """The set of non-dominated points is moocore's."""
    losses = np.asarray(rows, dtype=np.float64)
    theirs = moocore.is_nondominated(losses, keep_weakly=True)
    assert is_on_front(losses).tolist() == theirs.tolist()
