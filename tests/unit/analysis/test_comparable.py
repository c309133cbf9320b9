"""Trials of two machines, of a machine that changed, and disturbed ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.analysis.comparable import comparable, corrections, machines_of
from autotune.paths import StudyPaths
from autotune.records import (
    Applied,
    Configuration,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.study import Objective, read_study
from autotune.store import TrialStore
from tests.support.records import record

SPEED, CAPACITY = "output_tokens_per_s", "context_capacity_tokens"
OBJECTIVES = (
    Objective(metric=SPEED, direction="maximize"),
    Objective(metric=CAPACITY, direction="maximize"),
)
BASE, ONE = Configuration(), Configuration.of({"max_num_seqs": 64})
H100 = Path(__file__).parents[3] / "docs/results/2026-11-26-h100/small-card-study"


def trial(
    number: int,
    speed: float | None,
    config: Configuration = BASE,
    *,
    gpu: str | None = "GPU-1",
    disturbed: str = "",
) -> TrialRecord:
    """A measured trial on a card."""
    kind = TrialKind.BASELINE if config == BASE else TrialKind.SEARCH
    made = record(number, kind=kind, config=config, metrics={SPEED: speed, CAPACITY: 5e4})
    probe = ProbeResult(probe="throughput", status=ProbeStatus.MEASURED, disturbed=disturbed)
    place = {} if gpu is None else {"gpu_uuid": gpu, "host": "a"}
    return replace(made, probes=(probe,), environment=place)


def speeds(*records: TrialRecord, towards: str = "latest") -> list[float | None]:
    """Throughput as it is compared."""
    made = comparable(records, OBJECTIVES, towards=towards)  # type: ignore[arg-type]
    assert [r.number for r in made] == [r.number for r in records]
    return [r.metrics[SPEED] for r in made]


def test_one_steady_machine_needs_no_correction() -> None:
    """What was measured is what is compared; a trial that never started belongs to it."""
    records = (trial(0, 1000), trial(1, None, ONE, gpu=None), trial(2, 1200, ONE))
    assert comparable(records, OBJECTIVES) == records
    assert corrections(records, OBJECTIVES) == ()
    assert [len(machine) for machine in machines_of(records)] == [3]


def test_figures_of_another_machine_are_scaled_by_the_baselines_ratio() -> None:
    """The baseline is a quarter slower there (1000 to 750): so 1200 is as good as 900."""
    records = (
        trial(0, 1000), trial(1, 1200, ONE), trial(2, 750, gpu="GPU-2"),
        trial(3, 960, ONE, gpu="GPU-2"),
    )  # fmt: skip
    assert speeds(*records) == pytest.approx([750, 900, 750, 960])
    assert speeds(*records, towards="first") == pytest.approx([1000, 1200, 1000, 1280])
    (correction,) = corrections(records, OBJECTIVES)
    assert correction.trials == (0, 1)
    assert correction.reference == 2
    assert "trials 0 to 1 were measured on another machine" in str(correction)
    assert "by 0.750" in str(correction)


def test_what_does_not_depend_on_the_pace_is_left() -> None:
    """Tokens of capacity are the same on a slower card."""
    records = (trial(0, 1000), trial(1, 500, gpu="GPU-2"))
    assert [r.metrics[CAPACITY] for r in comparable(records, OBJECTIVES)] == [5e4, 5e4]


def test_correcting_twice_changes_nothing_more() -> None:
    """Whoever gets corrected records may ask again."""
    records = (trial(0, 1000), trial(1, 1200, ONE), trial(2, 750, gpu="GPU-2"))
    once = comparable(records, OBJECTIVES)
    assert comparable(once, OBJECTIVES) == once


def test_where_the_baseline_is_missing_speeds_are_not_compared() -> None:
    """One trial on a machine without a baseline proves nothing, and it is said."""
    records = (trial(0, 1000), trial(1, 1200, ONE), trial(2, 2000, ONE, gpu="GPU-2"))
    assert speeds(*records) == [1000, 1200, None]
    (correction,) = corrections(records, OBJECTIVES)
    assert "the baseline was not measured there" in str(correction)


def test_a_record_that_names_no_card_is_not_told_apart() -> None:
    """Records of before cards were written down stay one machine with those of now."""
    old = replace(trial(0, 1000), environment={"host_cpu_count": "16"})
    new = replace(trial(1, 800), environment={"host_cpu_count": "16", "gpu_uuid": "GPU-1"})
    assert len(machines_of([old, new])) == 1
    moved = replace(trial(2, 800), environment={"host_cpu_count": "8", "gpu_uuid": "GPU-1"})
    assert [len(machine) for machine in machines_of([old, new, moved])] == [2, 1]


def test_a_machine_that_is_come_back_to_is_the_same() -> None:
    """Three stays on two machines."""
    cards = ["GPU-1", "GPU-2", "GPU-1"]
    records = [trial(n, 1000, gpu=card) for n, card in enumerate(cards)]
    assert [[r.number for r in m] for m in machines_of(records)] == [[0, 2], [1]]


def test_what_ran_as_the_baseline_is_its_measurement_on_another_machine() -> None:
    """It was asked for by another name there; what is told is what was scaled."""
    read = Applied(settings={"max_num_seqs": 64})
    there = replace(trial(1, 750, ONE, gpu="GPU-2"), applied=read)
    records = (replace(trial(0, 1000), applied=read), there)
    assert speeds(*records) == pytest.approx([750, 750])
    (correction,) = corrections(records, OBJECTIVES)
    assert correction.ratios[SPEED] == pytest.approx(0.75)
    assert "by 0.750" in str(correction)


def test_a_clear_drift_is_corrected_like_another_machine() -> None:
    """A fifth slower from the middle on; trials before it are given as of now."""
    records = (
        trial(0, 1000), trial(1, 1010), trial(2, 1300, ONE), trial(7, 800), trial(8, 808),
    )  # fmt: skip
    assert speeds(*records) == pytest.approx([800, 808, 1040, 800, 808])
    (correction,) = corrections(records, OBJECTIVES)
    assert correction.is_drift
    assert correction.trials == (0, 1, 2)
    assert "before the machine changed" in str(correction)


def test_noise_of_the_baseline_is_no_drift() -> None:
    """3% up and down: nothing is corrected."""
    found = [trial(n, speed) for n, speed in enumerate([1000, 1030, 985, 1010, 975, 1000])]
    assert comparable(found, OBJECTIVES) == tuple(found)


def test_a_disturbed_trial_gives_way_to_its_calm_repeat() -> None:
    """Only where there is one; its speed is left out, not its capacity."""
    slow = trial(1, 700, ONE, disturbed="the card was hot")
    assert speeds(trial(0, 1000), slow) == [1000, 700]
    made = comparable((trial(0, 1000), slow, trial(2, 1200, ONE)), OBJECTIVES)
    assert [r.metrics[SPEED] for r in made] == [1000, None, 1200]
    assert made[1].metrics[CAPACITY] == 5e4
    assert any("disturbed" in note for note in made[1].notes)


def test_the_h100_study_of_two_machines_is_corrected() -> None:
    """Its README: 14,619 tokens/s on the first card, 11,175 to 13,129 on the second."""
    spec = read_study(H100 / "study.yaml")
    records = [
        replace(r, environment={**r.environment, "gpu_uuid": "GPU-1" if r.number < 8 else "GPU-2"})
        for r in TrialStore(StudyPaths(H100)).records()
        if r.number <= 20
    ]
    (correction,) = corrections(records, spec.objectives)
    assert correction.trials == tuple(range(8))
    assert 11_175 / 14_619 < correction.ratios[SPEED] < 13_129 / 14_619
    corrected = {r.number: r for r in comparable(records, spec.objectives)}
    assert 11_175 < (corrected[0].metrics[SPEED] or 0) < 13_129
