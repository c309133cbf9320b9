"""Trials that were cut off or failed, and the next run of the same study."""

import asyncio

import pytest
from optuna.trial import TrialState

from autotune.errors import HostError
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    TrialKind,
)
from autotune.study.agenda import counts
from tests.unit.study.bench import TRIALS, Bench, fail
from tests.unit.study.fakes import study_spec


def test_ctrl_c_stores_the_record_and_the_study_goes_on(bench: Bench) -> None:
    """An interrupted trial is on disk, the cancellation goes on, and the next run redoes it."""
    bench.runner.script = {4: fail(FailureKind.INTERRUPTED)}
    with pytest.raises(asyncio.CancelledError):
        bench.run()
    cut = bench.store.records()[-1]
    assert cut.outcome.failure is not None
    assert cut.outcome.failure.kind is FailureKind.INTERRUPTED
    end = bench.run()
    assert sum(counts(r) for r in end.records) == TRIALS
    assert [r.number for r in end.records if r.configuration == cut.configuration] == [4, 5]
    assert len(bench.runner.requests) == TRIALS + 1


def test_a_trial_that_runs_when_the_time_is_over_is_ended_and_run_again(bench: Bench) -> None:
    """Trials of 10 s in 15 s: the second is cut off then, does not count, and is the next one."""
    bench.spec = study_spec(budget={"trials": TRIALS, "timeout_s": 15})
    end = bench.run()
    assert bench.clock.now_ns() == pytest.approx(15e9, rel=1e-6)
    assert end.reason.startswith("the time of 15 s is over (virtual time")
    assert sum(counts(r) for r in end.records) == 1
    cut = end.records[-1]
    assert cut.outcome.failure is not None
    assert cut.outcome.failure.kind is FailureKind.INTERRUPTED
    assert cut.outcome.failure.message == "the study's time was over"
    bench.spec = study_spec(budget={"trials": TRIALS})
    again = bench.run()
    assert again.records[2].configuration == cut.configuration
    assert sum(counts(r) for r in again.records) == TRIALS


def test_ctrl_c_after_a_trial_has_its_outcome_ends_the_study_too(bench: Bench) -> None:
    """It came while the server of a failed trial was being stopped: that outcome stands."""

    def cancel_and_fail(_configuration: Configuration) -> Failure:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task_was_told.append(len(bench.runner.requests))
        return fail(FailureKind.GPU_OOM)

    task_was_told: list[int] = []
    bench.runner.judge = cancel_and_fail
    with pytest.raises(asyncio.CancelledError):
        bench.run()
    assert task_was_told == [1]
    (record,) = bench.store.records()
    assert record.outcome.failure is not None
    assert record.outcome.failure.kind is FailureKind.GPU_OOM
    assert bench.open().ledger.trials[0].state is TrialState.PRUNED


def test_an_error_of_the_machine_ends_the_study_with_a_record(bench: Bench) -> None:
    """What stops every trial is raised on; the trial is on disk and is run again later."""
    bench.runner.script = {2: HostError("no room on the disk")}
    with pytest.raises(HostError, match="no room"):
        bench.run()
    assert "no room on the disk" in str(bench.store.records()[2].outcome)
    assert sum(counts(r) for r in bench.run().records) == TRIALS


def test_a_finished_study_runs_nothing_more(bench: Bench) -> None:
    """The same command again says that it is done; a larger budget goes on."""
    bench.run()
    asked = len(bench.runner.requests)
    bench.run()
    assert len(bench.runner.requests) == asked
    bench.spec = study_spec(budget={"trials": TRIALS + 2})
    assert sum(counts(r) for r in bench.run().records) == TRIALS + 2


def test_a_failed_trial_is_retried_and_counted_once(bench: Bench) -> None:
    """The host's fault gets one retry that costs no trial of the budget."""
    bench.runner.script = {3: fail(FailureKind.PORT_IN_USE)}
    end = bench.run()
    failed, retry = end.records[3], end.records[4]
    assert retry.kind is TrialKind.RETRY
    assert retry.configuration == failed.configuration
    assert sum(counts(r) for r in end.records) == TRIALS
    assert bench.open().ledger.trials[3].state is TrialState.FAIL
