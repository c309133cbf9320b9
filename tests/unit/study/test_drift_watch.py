"""What is said when the baseline moves."""

from autotune.records import Configuration, TrialKind
from autotune.seams.events import Event, Notice, TrialEnded
from autotune.spec.study import study_from
from autotune.study.drift_watch import DriftWatch
from tests.support.records import record

OBJECTIVES = study_from({"name": "s"}, where="test").objectives


def said(*speeds: float, kind: TrialKind = TrialKind.BASELINE) -> list[str]:
    """Notices after baselines of these throughputs."""
    heard: list[Event] = []
    watch = DriftWatch(heard.append, OBJECTIVES)
    for number, speed in enumerate(speeds):
        metrics = {"output_tokens_per_s": speed}
        trial = record(number, kind=kind, config=Configuration(), metrics=metrics)
        watch(TrialEnded(record=trial))
    assert sum(isinstance(event, TrialEnded) for event in heard) == len(speeds)
    return [event.text for event in heard if isinstance(event, Notice)]


def test_a_machine_that_slowed_down_is_named() -> None:
    """A third less throughput at the baseline's second trial."""
    (text,) = said(1000, 670)
    assert "0.67 times" in text
    assert "2 trials" in text


def test_a_machine_that_stayed_the_same_is_not() -> None:
    """2% are noise."""
    assert said(1000, 980) == []


def test_only_the_baseline_tells() -> None:
    """Other trials are passed on and no more."""
    assert said(1000, 670, kind=TrialKind.SEARCH) == []
