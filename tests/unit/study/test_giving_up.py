"""When a study ends because nothing works, and that it goes on once that is mended."""

from pathlib import Path

import pytest

from autotune.errors import HostError, NothingFeasibleError
from autotune.records import (
    FailureKind,
)
from autotune.study.agenda import counts
from tests.unit.study.bench import Bench, fail
from tests.unit.study.fakes import study_spec


def test_a_study_in_which_nothing_works_is_ended(tmp_path: Path) -> None:
    """After the first five starts that reached no probe, clear words instead of 40 failures."""
    bench = Bench(tmp_path, study_spec())
    bench.runner.judge = lambda _c: fail(FailureKind.CRASHED_AT_START)
    with pytest.raises(NothingFeasibleError, match="none of the first 5 trials") as caught:
        bench.run()
    assert "words of crashed_at_start" in caught.value.message
    assert "engine.log" in caught.value.hint
    assert len(bench.runner.requests) == 5


def test_a_study_in_which_nothing_worked_goes_on_once_it_is_mended(tmp_path: Path) -> None:
    """The same command: failures of the run before end nothing any more."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 8}))
    bench.runner.judge = lambda _c: fail(FailureKind.CRASHED_AT_START)
    with pytest.raises(NothingFeasibleError):
        bench.run()
    bench.runner.judge = lambda _c: None
    end = bench.run()
    assert sum(counts(r) for r in end.records) == 8
    assert any(r.is_feasible for r in end.records)


def test_a_host_that_fails_does_not_use_up_the_budget(tmp_path: Path) -> None:
    """Docker goes away after three good trials: five more, then clear words; mended, it goes on."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 20}))
    bench.runner.script = {n: fail(FailureKind.DEPLOYER_FAULT) for n in range(3, 99)}
    with pytest.raises(HostError, match=r"the last 5 trials failed .* deployer_fault") as caught:
        bench.run()
    assert "goes on" in caught.value.hint
    assert len(bench.runner.requests) == 3 + 5
    bench.runner.script = {}
    assert sum(counts(r) for r in bench.run().records) == 20
