"""What is said when the baseline moves."""

from dataclasses import replace

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    ProbeResult,
    ProbeStatus,
    TrialKind,
)
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


def test_a_drift_that_is_corrected_asks_nobody_to_take_care() -> None:
    """A third less from the third baseline on: the first sight warns, the second one corrects."""
    texts = said(1000, 1000, 670, 670, 670)
    assert [("with care" in text, "scaled" in text) for text in texts[:2]] == [
        (True, False),
        (False, True),
    ]
    assert not any("with care" in text for text in texts[2:])


def test_only_the_baseline_tells() -> None:
    """Other trials are passed on and no more."""
    assert said(1000, 670, kind=TrialKind.SEARCH) == []


def test_a_lowered_default_tells_too() -> None:
    """Where the default was over a memory bound, what is left of it is what others are held to."""
    lowered = Configuration.of({"gpu_memory_utilization": 0.9})
    heard: list[Event] = []
    watch = DriftWatch(heard.append, OBJECTIVES)
    full = Failure(kind=FailureKind.MEMORY_LIMIT, phase="probe:ttft", message="over the bound")
    over = record(0, kind=TrialKind.BASELINE, config=Configuration(), failure=full)
    watch(TrialEnded(record=over))
    for number, speed in ((1, 1000.0), (2, 670.0)):
        metrics = {"output_tokens_per_s": speed}
        made = record(number, kind=TrialKind.REPAIR, config=lowered, metrics=metrics)
        watch(TrialEnded(record=made))
    texts = [event.text for event in heard if isinstance(event, Notice)]
    assert any("0.67 times" in text for text in texts)


def test_another_machine_and_its_correction_are_told_at_once() -> None:
    """When its first trial ends, and when the baseline has told by how much."""
    heard: list[Event] = []
    watch = DriftWatch(heard.append, OBJECTIVES)
    for number, speed, card in ((0, 1000.0, "GPU-1"), (1, 1000.0, "GPU-2"), (2, 810.0, "GPU-2")):
        kind = TrialKind.SEARCH if number == 1 else TrialKind.BASELINE
        config = Configuration.of({"max_num_seqs": 64}) if number == 1 else Configuration()
        made = record(number, kind=kind, config=config, metrics={"output_tokens_per_s": speed})
        watch(TrialEnded(record=replace(made, environment={"gpu_uuid": card})))
    first, second = [event.text for event in heard if isinstance(event, Notice)]
    assert "another machine" in first
    assert "trial 0 was measured on another machine" in second
    assert "0.810" in second


def test_a_disturbed_trial_is_named() -> None:
    """With what disturbed it."""
    heard: list[Event] = []
    probe = ProbeResult(probe="ttft", status=ProbeStatus.MEASURED, disturbed="the card was hot")
    made = record(3, config=Configuration.of({"max_num_seqs": 64}))
    DriftWatch(heard.append, OBJECTIVES)(TrialEnded(record=replace(made, probes=(probe,))))
    (text,) = [event.text for event in heard if isinstance(event, Notice)]
    assert text == "trial 3 was disturbed: the card was hot"
