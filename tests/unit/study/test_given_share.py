"""Where the default had to be lowered, all that sets no share of the card runs with its share."""

from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.paths import StudyPaths
from autotune.records import Configuration, Failure, FailureKind, TrialKind, TrialRecord
from autotune.spec.space import SearchSpace, space_from
from autotune.spec.study import StudySpec
from autotune.store import TrialStore
from autotune.study.ask_tell import AskTell
from autotune.study.loop import run_study
from autotune.study.proposals import NOTHING, Known, proposer_named
from tests.unit.study.fakes import FakeRunner, study_spec

SHARE = "gpu_memory_utilization"
PLAIN = {
    "kv_cache_dtype": {"choices": ["default", "fp8"]},
    "max_num_seqs": {"choices": ["default", 16, 64, 256]},
}
SEED = {"kv_cache_dtype": "fp8", "max_num_seqs": 64}


def space(**parameters: object) -> SearchSpace:
    """A space without the share, and more parameters."""
    return space_from({"name": "plain", "parameters": {**PLAIN, **parameters}}, where="plain")


def over_the_bound(configuration: Configuration) -> Failure | None:
    """The engine takes 0.92 of 12 GiB; the bound is at 0.915."""
    short = (0.915 - float(configuration.values.get(SHARE, 0.92))) * 12
    if short >= 0:
        return None
    return Failure(kind=FailureKind.MEMORY_LIMIT, phase="warming_up", message="GPU memory over",
                   margin_gib=short)  # fmt: skip


def run(
    root: Path, spec: StudySpec, of: SearchSpace, sampler: str = "surrogate", known: Known = NOTHING
) -> tuple[TrialRecord, ...]:
    """A study on a card of 12 GiB whose default is 0.06 GiB over its bound."""
    clock = VirtualClock()
    runner = FakeRunner(
        clock,
        judge=over_the_bound,
        environment={"gpu_memory_bytes": str(12 * 1024**3)},
        applied={SHARE: 0.92},
    )
    store = TrialStore(StudyPaths(root / "s"))
    ask_tell = AskTell(spec, of, store, proposer_named(sampler, spec, of, known))
    end = clock.run(
        run_study(spec, runner=runner, store=store, ask_tell=ask_tell,
                  observer=lambda _event: None, clock=clock)
    )  # fmt: skip
    return end.records


@pytest.mark.parametrize("sampler", ["surrogate", "tpe", "random", "qmc", "nsga2"])
def test_a_space_without_the_share_is_measured(tmp_path: Path, sampler: str) -> None:
    """Every configuration of it but the default runs, at the share that the default keeps."""
    records = run(tmp_path, study_spec(budget={"trials": 14}, limits=[]), space(), sampler)
    assert records[0].kind is TrialKind.BASELINE
    assert not records[0].is_feasible
    assert all(r.is_feasible for r in records[1:])
    assert {r.configuration.get(SHARE) for r in records[1:]} == {0.91}
    asked = {r.configuration.without(SHARE) for r in records[1:]}
    assert len(asked) == 8


def test_seeds_and_hints_run_with_it_too(tmp_path: Path) -> None:
    """A seed of its own share keeps it."""
    spec = study_spec(budget={"trials": 5}, seeds=[SEED, {SHARE: 0.85}], limits=[])
    known = Known(hints=[Configuration.of({"max_num_seqs": 256})])
    records = run(tmp_path, spec, space(), known=known)
    seeds = [r.configuration for r in records if r.kind is TrialKind.SEED]
    assert seeds == [Configuration.of({**SEED, SHARE: 0.91}), Configuration.of({SHARE: 0.85})]
    assert all(r.configuration.get(SHARE) is not None for r in records[1:])


def test_leaving_the_share_to_the_engine_is_the_lowered_share(tmp_path: Path) -> None:
    """In a space that has it, `default` is the lowered value, and is not measured twice."""
    with_share = space(**{SHARE: {"choices": ["default", 0.8, 0.9]}})
    records = run(tmp_path, study_spec(budget={"trials": 30}, limits=[]), with_share)
    searched = [r.configuration for r in records if r.kind is TrialKind.SEARCH]
    assert {c.get(SHARE) for c in searched} == {0.8, 0.9}
    assert len(set(searched)) == len(searched)


def test_a_study_goes_on_with_the_share_that_it_found(tmp_path: Path) -> None:
    """The share is read off the records."""
    run(tmp_path, study_spec(budget={"trials": 3}, limits=[]), space())
    records = run(tmp_path, study_spec(budget={"trials": 6}, limits=[]), space())
    assert {r.configuration.get(SHARE) for r in records[1:]} == {0.91}
