"""A first start compiles and has a smaller KV cache: later starts tell what is served."""

from dataclasses import replace

import pytest

from autotune.analysis.ablation import next_ablation
from autotune.analysis.comparable import comparable, corrections
from autotune.analysis.drift import drifts
from autotune.analysis.finalists import finalists_of
from autotune.analysis.first_starts import as_later_starts, first_start_text, search_alone
from autotune.analysis.recommend import recommend
from autotune.paths import StudyPaths
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import StudySpec, read_study, study_from
from autotune.store import TrialStore
from benchmarks.gpu.published import PAGES
from tests.support.records import record

SPEED, TTFT, CAPACITY = "output_tokens_per_s", "ttft_8k_ns", "context_capacity_tokens"
SPEC = study_from({"name": "sample"}, where="test")
BASE, FP8 = Configuration(), Configuration.of({"kv_cache_dtype": "fp8"})


def trial(  # noqa: PLR0917 - a row of a table
    number: int,
    speed: float,
    capacity: float,
    compile_s: float | None,
    config: Configuration = BASE,
    kind: TrialKind = TrialKind.BASELINE,
) -> TrialRecord:
    """A measured trial, with the engine's own time for compilation."""
    metrics = {SPEED: speed, TTFT: 196e6, CAPACITY: capacity, "startup_ns": 60e9}
    took = None if compile_s is None else compile_s * 1e9
    made = record(number, kind=kind, config=config, metrics=metrics)
    return replace(made, metrics={**made.metrics, "startup_compile_ns": took})


FIRST, LATER = trial(0, 4015, 20_880, 27.9), trial(1, 4737, 33_968, 5.5)
"""As measured on 11 GiB of an H100 (docs/results, 2026-11-27)."""


def proofs(first: int, speed: float, capacity: float, config: Configuration) -> list[TrialRecord]:
    """Three later starts that prove a configuration, a little apart."""
    return [
        trial(first + i, speed + 20 * i, capacity, 5.2 + i / 2, config, TrialKind.FINALIST)
        for i in range(3)
    ]


def test_of_a_first_start_only_its_own_time_is_left() -> None:
    """Where a later one of the same configuration was measured."""
    first, later = as_later_starts((FIRST, LATER))
    assert (first.metrics[SPEED], first.metrics[CAPACITY]) == (None, None)
    assert first.metrics["startup_ns"] == 60e9
    assert later is LATER


def test_a_configuration_that_was_only_started_first_has_the_capacity_of_a_later_start() -> None:
    """By the baseline's ratio, 33,968 / 20,880; its speed stays, for nobody knows another one."""
    fp8 = trial(2, 5068, 41_776, 28.6, FP8, TrialKind.SEARCH)
    *_, given = as_later_starts((FIRST, LATER, fp8))
    assert given.metrics[CAPACITY] == pytest.approx(41_776 * 33_968 / 20_880)
    assert given.metrics[SPEED] == 5068


@pytest.mark.parametrize("took", [6.0, None])
def test_one_that_found_its_graphs_is_left_as_it_is(took: float | None) -> None:
    """Another configuration had compiled them; or the engine says nothing of compilation."""
    same_graphs = trial(2, 5068, 61_000, took, FP8, TrialKind.SEARCH)
    assert as_later_starts((FIRST, LATER, same_graphs))[-1] is same_graphs


def test_without_a_difference_in_capacity_first_and_later_starts_are_alike() -> None:
    """A large card: what compiling took is nothing beside its KV cache."""
    records = (trial(0, 4015, 500_000, 27.9), trial(1, 4100, 502_000, 5.5))
    assert as_later_starts(records) == records


def test_a_smaller_cache_that_compiling_did_not_make_is_measured_noise() -> None:
    """Someone else's memory: it stays, and tells how much figures move."""
    records = (trial(0, 4015, 20_880, 5.4), LATER)
    assert as_later_starts(records) == records


def test_a_winner_that_was_proved_is_not_hidden_by_first_starts() -> None:
    """16% and 1.81 times, each three times alike; with the first starts noise would be 0.22."""
    records = [
        FIRST, LATER, trial(2, 5958, 40_768, 17.9, FP8, TrialKind.SEARCH),
        *proofs(3, 4835, 33_968, BASE), *proofs(6, 5638, 61_536, FP8),
    ]  # fmt: skip
    found = recommend(comparable(records, SPEC.objectives), SPEC)
    assert found.configuration == FP8
    assert found.gains[CAPACITY] == pytest.approx(61_536 / 33_968)


def test_a_first_start_is_no_drift_of_the_machine() -> None:
    """1.63 times the capacity after the first of four baselines."""
    records = (FIRST, LATER, trial(2, 4750, 33_968, 5.2), trial(3, 4745, 33_968, 5.3))
    assert all(not d.is_clear for d in drifts(as_later_starts(records), SPEC.objectives))
    assert corrections(records, SPEC.objectives) == ()


def test_whoever_serves_it_is_told_to_start_it_once() -> None:
    """The exported files have a cache of their own, which is empty."""
    text = first_start_text((FIRST, LATER), BASE)
    assert text.startswith("its first start compiles and holds 20,880 tokens of context, every")
    assert "33,968" in text
    assert not first_start_text((LATER,), BASE)


def test_who_is_being_proved_stays_a_finalist() -> None:
    """Its proof is a later start, and takes the place of the trial that it was picked by."""
    one = study_from({"name": "sample", "search": {"finalists": 1}}, where="test")
    seqs = Configuration.of({"max_num_seqs": 64})
    searched = [
        FIRST, LATER, trial(2, 5958, 40_768, 17.9, FP8, TrialKind.SEARCH),
        trial(3, 5100, 30_000, 18.1, seqs, TrialKind.SEARCH),
    ]  # fmt: skip
    records = [*searched, *proofs(4, 5638, 61_536, FP8)]
    among = search_alone(records, lambda r: comparable(r, one.objectives))
    assert finalists_of(comparable(records, one.objectives), one, among) == (BASE, FP8)
    assert finalists_of(comparable(records, one.objectives), one) == (BASE, seqs)


def test_where_no_first_start_has_made_way_nothing_is_made_comparable_again() -> None:
    """The usual case, and the answer is in the records themselves."""
    assert search_alone([LATER, trial(2, 5100, 34_000, 5.1)], lambda r: r) is None


def real_study() -> tuple[tuple[TrialRecord, ...], StudySpec]:
    """Of the shape of Qwen2.5-7B-Instruct-AWQ within 11 GiB of an H100: as it was run."""
    folder = PAGES / "2026-11-27-h100" / "third"
    records = TrialStore(StudyPaths(folder), "small-card-awq-search").records()
    assert len(records) == 20
    return records, read_study(folder / "study.yaml")


def test_what_was_taken_away_at_a_first_start_is_started_once_more() -> None:
    """Trial 18 is the choice without fp8, at a first start: 3,879 tokens/s from 20,896 tokens.

    A later start would hold a half more and be faster. As that study ran, it had no second one.
    """
    records, spec = real_study()
    removal = records[18]
    assert (removal.kind, removal.configuration.get("kv_cache_dtype")) == (TrialKind.ABLATION, None)
    so_far = comparable(records[:19], spec.objectives)
    assert next_ablation(so_far, spec) == removal.configuration
    before = comparable(records[:18], spec.objectives)
    assert next_ablation(before, spec) == removal.configuration


def test_a_reason_from_a_first_start_says_so() -> None:
    """Its figures hold for a smaller KV cache."""
    records, spec = real_study()
    found = recommend(comparable(records, spec.objectives), spec)
    assert found.configuration.get("max_num_seqs") == 64
    (reason,) = [r for r in found.settings if r.parameter == "kv_cache_dtype"]
    assert "(trial 18, a first start)" in reason.text
