"""Drift of the machine, seen on the baseline."""

import pytest

from autotune.analysis.drift import drifts
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import Objective
from tests.support.records import record

METRIC = "output_tokens_per_s"
OBJECTIVES = (Objective(metric=METRIC, direction="maximize"),)


def baselines(*speeds: float) -> list[TrialRecord]:
    """Trials of the baseline, one after the other."""
    return [
        record(i, kind=TrialKind.BASELINE, config=Configuration(), metrics={METRIC: speed})
        for i, speed in enumerate(speeds)
    ]


def test_a_machine_that_throttles_is_seen() -> None:
    """A fifth slower at the end than at the beginning is more than noise."""
    (drift,) = drifts(baselines(1000, 1005, 800, 805), OBJECTIVES)
    assert drift.ratio == pytest.approx(0.8, abs=0.01)
    assert drift.is_clear
    assert drift.trials == 4


def test_a_steady_machine_does_not_drift() -> None:
    """A percent is noise."""
    (drift,) = drifts(baselines(1000, 1010, 995, 1003), OBJECTIVES)
    assert not drift.is_clear


def test_one_trial_says_nothing() -> None:
    """Without a second look there is no drift to tell."""
    assert drifts(baselines(1000), OBJECTIVES) == ()
    assert drifts([], OBJECTIVES) == ()
