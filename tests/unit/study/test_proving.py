"""Finalists and ablations within a study's budget."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.analysis.recommend import recommend
from autotune.records import (
    Configuration,
    FailureKind,
    TrialKind,
)
from autotune.seams.events import Notice
from autotune.spec.forbidden import Forbidden
from autotune.spec.parameters import Condition
from autotune.spec.space import space_to_raw
from autotune.study.agenda import counts
from autotune.study.ask_tell import AskTell
from autotune.study.loop import StudyEnd, run_study
from autotune.study.proposals import proposer_named
from tests.unit.study.bench import Bench, fail
from tests.unit.study.fakes import SPACE, study_spec


def finalists(end: StudyEnd) -> list[Configuration]:
    """What was deployed afresh, in order."""
    return [r.configuration for r in end.records if r.kind is TrialKind.FINALIST]


def test_finalists_are_proved_within_the_budget(tmp_path: Path) -> None:
    """Of 27 trials the last nine are the baseline and two winners, three times, interleaved."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 27}, search={"ablations": 0}))
    end = bench.run()
    proved = finalists(end)
    assert sum(counts(r) for r in end.records) == 27
    assert proved[:3] == proved[3:6] == proved[6:]
    assert proved[0] == end.records[0].configuration
    assert len(set(proved)) == 3
    assert all(r.kind is TrialKind.FINALIST for r in end.records[-9:])


def test_a_small_budget_keeps_no_proofs(finished: tuple[Bench, StudyEnd]) -> None:
    """Where nine proofs would take over a third of the trials, all of them search."""
    assert finalists(finished[1]) == []


def test_proofs_go_on_after_an_interruption(tmp_path: Path) -> None:
    """Cut off in the middle of the proofs, the next run finishes the same ones."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 27}))
    bench.runner.script = {23: fail(FailureKind.INTERRUPTED)}
    with pytest.raises(asyncio.CancelledError):
        bench.run()
    end = bench.run()
    proved = [
        r.configuration for r in end.records if r.kind is TrialKind.FINALIST and r.is_feasible
    ]
    assert Counter(proved).most_common()[-1][1] == 3
    assert len(set(proved)) == 3


def ablations(end: StudyEnd) -> list[Configuration]:
    """What was taken away from, in order."""
    return [r.configuration for r in end.records if r.kind is TrialKind.ABLATION]


def test_settings_are_taken_away_after_the_proofs(tmp_path: Path) -> None:
    """Of 40 trials at most eight; the offload, which does nothing here, is not recommended."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 40}))
    end = bench.run("tpe")
    kinds = [r.kind for r in end.records]
    made = [r for r in end.records if r.kind is TrialKind.ABLATION and counts(r)]
    assert 0 < len(made) <= 8
    assert sum(counts(r) for r in end.records) == 40
    assert kinds.index(TrialKind.ABLATION) > kinds.index(TrialKind.FINALIST)
    assert "kv_offload_gib" not in recommend(end.records, bench.spec).configuration.values


def test_what_the_space_forbids_is_not_proposed_by_ablation(tmp_path: Path) -> None:
    """A setting without which the rest is forbidden stays, for the declared reason."""
    space = replace(
        SPACE,
        forbidden=(
            Forbidden(
                conditions=(
                    Condition(parameter="kv_cache_dtype", values=("fp8",)),
                    Condition(parameter="max_num_seqs", values=("default",)),
                ),
                reason="fp8 needs a bound on the batch",
            ),
        ),
    )
    bench = Bench(tmp_path, study_spec(budget={"trials": 40}, prefer="context"))
    proposer = proposer_named("tpe", bench.spec, space)
    ask_tell = AskTell(bench.spec, space, bench.store, proposer)
    end = bench.clock.run(
        run_study(bench.spec, runner=bench.runner, store=bench.store, ask_tell=ask_tell,
                  observer=bench.events.append, clock=bench.clock)
    )  # fmt: skip
    resolved = bench.spec.model_copy(update={"space": space_to_raw(space)})
    chosen = recommend(end.records, resolved)
    assert chosen.configuration.get("kv_cache_dtype") == "fp8"
    reasons = {setting.parameter: setting.text for setting in chosen.settings}
    assert "fp8 needs a bound on the batch" in reasons["max_num_seqs"]
    taken = [r for r in end.records if r.kind is TrialKind.ABLATION]
    assert taken
    assert all(space.refusal(record.configuration) is None for record in taken)


def test_ablations_go_on_after_an_interruption(tmp_path: Path) -> None:
    """Cut off in the middle of the ablations, the next run plans what the first would have."""
    whole = Bench(tmp_path / "whole", study_spec(budget={"trials": 40}))
    planned = ablations(whole.run())
    first = next(i for i, r in enumerate(whole.store.records()) if r.kind is TrialKind.ABLATION)
    cut = Bench(tmp_path / "cut", study_spec(budget={"trials": 40}))
    cut.runner.script = {first + 1: fail(FailureKind.INTERRUPTED)}
    with pytest.raises(asyncio.CancelledError):
        cut.run()
    end = cut.run()
    done = [r.configuration for r in end.records
            if r.kind is TrialKind.ABLATION and not r.is_interrupted]  # fmt: skip
    assert done == planned


def test_a_budget_too_small_for_ablations_says_so(finished: tuple[Bench, StudyEnd]) -> None:
    """Two of sixteen trials leave things out; what is recommended may still do nothing."""
    assert 0 < len(ablations(finished[1])) <= 2
    notes = [e.text for e in finished[0].of(Notice) if isinstance(e, Notice)]
    assert any("16 trials are too few to take settings away" in text for text in notes)
