"""What is on disk and in the ledger after a kill or a damage, and what is made of it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from autotune.errors import StoreError
from autotune.records import (
    Configuration,
    FailureKind,
    TrialKind,
)
from autotune.seams.events import Notice
from autotune.study.agenda import counts
from autotune.study.ask_tell import AskTell
from autotune.study.outcomes import Told
from autotune.study.proposals import OptunaProposer
from autotune.study.storage import quiet
from tests.unit.study.bench import TRIALS, Bench
from tests.unit.study.fakes import SPACE, study_spec


def test_a_controller_killed_between_two_writes_shifts_no_trial(bench: Bench) -> None:
    """A trial that was entered and not yet begun keeps its number and settings for itself."""
    bench.run()
    waiting = Configuration.of({"max_num_batched_tokens": 128, "kv_offload_gib": 16})
    bench.open().ledger.enqueue_trial(
        {"max_num_batched_tokens": 128, "kv_offload_gib": 16},
        user_attrs={"kind": "search", "asked": json.dumps(waiting.values)},
    )
    bench.spec = study_spec(budget={"trials": TRIALS + 3})
    end = bench.run()
    assert end.records[TRIALS].configuration == waiting
    trials = bench.open().ledger.trials
    assert all(t.state.is_finished() for t in trials)
    for record in end.records:
        asked = trials[record.number].user_attrs.get("asked")
        assert asked is None or Configuration.of(json.loads(asked)) == record.configuration


def test_a_record_that_had_reached_the_disk_is_learnt_once(bench: Bench) -> None:
    """The controller was killed after the record was written and before Optuna heard of it."""
    bench.run()
    record = bench.store.records()[-1]
    heard: list[Configuration] = []

    class Listening(OptunaProposer):
        def learn(self, configuration: Configuration, told: Told) -> None:
            heard.append(configuration)
            super().learn(configuration, told)

    study = bench.open().ledger
    number = record.number + 1
    with quiet():
        study.enqueue_trial({}, user_attrs={"kind": "search", "asked": "{}"})
        study.ask()
    bench.store.append(replace(record, number=number))
    proposer = Listening(bench.spec, SPACE, optuna.samplers.RandomSampler(seed=0))
    opened = AskTell(bench.spec, SPACE, bench.store, proposer)
    assert opened.sweep() == ()
    assert len(heard) == number + 1
    assert opened.ledger.trials[number].state is TrialState.COMPLETE


def test_a_controller_that_was_killed_leaves_no_running_trial(bench: Bench) -> None:
    """A trial left RUNNING gets a record, is told as failed, and is run once more."""
    bench.run()
    configuration = Configuration.of({"max_num_batched_tokens": 128, "kv_offload_gib": 0})
    number = bench.open().start(configuration, TrialKind.SEARCH)
    bench.spec = study_spec(budget={"trials": TRIALS + 2})
    end = bench.run()
    orphan = end.records[number]
    assert orphan.configuration == configuration
    assert orphan.outcome.failure is not None
    assert orphan.outcome.failure.kind is FailureKind.KILLED_FROM_OUTSIDE
    assert end.records[number + 1].kind is TrialKind.RETRY
    assert end.records[number + 1].configuration == configuration
    assert not [t for t in bench.open().ledger.trials if not t.state.is_finished()]


def test_a_record_that_was_never_told_is_told(bench: Bench) -> None:
    """Killed between the disk and the database: the record counts, nothing is run again."""
    bench.run()
    ask_tell = bench.open()
    configuration = Configuration.of({"max_num_batched_tokens": 128, "kv_offload_gib": 0})
    number = ask_tell.start(configuration, TrialKind.SEARCH)
    last = next(r for r in reversed(bench.store.records()) if r.is_feasible)
    bench.store.append(replace(last, number=number, configuration=configuration))
    asked = len(bench.runner.requests)
    bench.spec = study_spec(budget={"trials": TRIALS + 1})
    bench.run()
    assert len(bench.runner.requests) == asked
    assert bench.open().ledger.trials[number].state is TrialState.COMPLETE


def test_a_database_that_refuses_is_one_clear_error(bench: Bench) -> None:
    """No traceback of Optuna's; the record is safe, and the same command goes on."""
    bench.run()
    bench.spec = study_spec(budget={"trials": TRIALS + 1})
    opened = bench.open()
    configuration = Configuration.of({"max_num_batched_tokens": 128, "kv_offload_gib": 0})
    number = opened.start(configuration, TrialKind.SEARCH)
    last = next(r for r in reversed(bench.store.records()) if r.is_feasible)
    record = replace(last, number=number, configuration=configuration)
    bench.store.append(record)
    database = bench.store.paths.database
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE trial_user_attributes RENAME TO gone")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        opened.tell(record)
    assert str(database) in caught.value.message
    assert "goes on" in caught.value.hint
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE gone RENAME TO trial_user_attributes")
    bench.run()
    assert bench.open().ledger.trials[number].state is TrialState.COMPLETE


def test_a_lost_database_is_made_again(bench: Bench) -> None:
    """Without optuna.db the ledger is rebuilt from the records and is the same."""
    bench.run()
    before = bench.open().ledger.trials
    for file in (bench.root / "s").glob("optuna.db*"):
        file.unlink()
    after = bench.open().ledger.trials
    assert [_row(t) for t in after] == [_row(t) for t in before]


def test_damaged_records_are_told_and_do_not_stop_the_study(bench: Bench) -> None:
    """A spoilt record is set aside with a warning, and its database row goes with it."""
    bench.run()
    bench.store.paths.trial(5).record.write_text("{")
    bench.spec = study_spec(budget={"trials": TRIALS + 1})
    end = bench.run()
    warnings = [e.text for e in bench.of(Notice) if isinstance(e, Notice) and e.level == "warning"]
    assert any("trial.json.damaged" in text for text in warnings)
    assert 5 not in {r.number for r in end.records}
    assert sum(counts(r) for r in end.records) == TRIALS + 1


def _row(trial: optuna.trial.FrozenTrial) -> tuple[object, ...]:
    attributes = {k: v for k, v in trial.user_attrs.items() if k != "asked"}
    return (trial.number, trial.state, trial.values, trial.params, trial.constraints, attributes)
