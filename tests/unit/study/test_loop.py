"""A study from first to last trial on a runner that measures a made-up landscape."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autotune.analysis.recommend import recommend
from autotune.clock import VirtualClock
from autotune.errors import HostError, NothingFeasibleError, StoreError
from autotune.paths import StudyPaths
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    OutcomeStatus,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.events import Event, Notice, TrialEnded, TrialStarted
from autotune.spec.parameters import Condition
from autotune.spec.study import StudySpec
from autotune.store import TrialStore
from autotune.study.agenda import counts, is_interrupted
from autotune.study.ask_tell import AskTell
from autotune.study.loop import StudyEnd, reference_answers, run_study
from autotune.study.outcomes import Told
from autotune.study.proposals import OptunaProposer, proposer_named
from autotune.study.storage import quiet
from autotune.trial.failure import outcome_of
from tests.unit.study.fakes import SPACE, FakeRunner, study_spec


@dataclass
class Bench:
    """One study's folder and all that runs in it."""

    root: Path
    spec: StudySpec
    clock: VirtualClock = field(default_factory=VirtualClock)
    events: list[Event] = field(default_factory=list)
    runner: FakeRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = FakeRunner(self.clock)

    @property
    def store(self) -> TrialStore:
        return TrialStore(StudyPaths(self.root / "s"))

    def open(self, sampler: str = "random") -> AskTell:
        return AskTell(self.spec, SPACE, self.store, proposer_named(sampler, self.spec, SPACE))

    def run(self, sampler: str = "random") -> StudyEnd:
        return self.clock.run(
            run_study(
                self.spec,
                runner=self.runner,
                store=self.store,
                ask_tell=self.open(sampler),
                observer=self.events.append,
                clock=self.clock,
            )
        )

    def of(self, kind: type[Event]) -> Iterator[Event]:
        return (event for event in self.events if isinstance(event, kind))


TRIALS = 6


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A study of a few trials."""
    return Bench(tmp_path, study_spec(budget={"trials": TRIALS}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, StudyEnd]:
    """A study that has been run, to be looked at only; screened proposals are among it."""
    bench = Bench(tmp_path_factory.mktemp("finished"), study_spec(budget={"trials": 16}))
    return bench, bench.run()


def fail(kind: FailureKind) -> Failure:
    """A failure of a kind."""
    return Failure(kind=kind, phase="starting", message=f"words of {kind.value}")


def test_it_runs_so_many_trials_baseline_first(finished: tuple[Bench, StudyEnd]) -> None:
    """The budget counts started trials; each has its record, on disk and in the ledger."""
    bench, end = finished
    assert sum(counts(r) for r in end.records) == 16
    assert end.records[0].kind is TrialKind.BASELINE
    assert "16 trials" in end.reason
    assert bench.store.records() == end.records
    trials = bench.open().ledger.trials
    assert [t.number for t in trials] == [r.number for r in end.records]
    assert all(t.state.is_finished() for t in trials)


def test_no_configuration_is_run_twice(bench: Bench) -> None:
    """A search that proposes what it has seen gets no second start for it."""
    end = bench.run("tpe")
    repeated = Counter(r.configuration for r in end.records)
    assert set(repeated.values()) == {1}


def test_the_space_is_respected(finished: tuple[Bench, StudyEnd]) -> None:
    """Relations hold and inactive parameters are absent in everything that is run."""
    for record in finished[1].records[1:]:
        assert SPACE.refusal(record.configuration) is None
        if record.configuration.get("block_size") is not None:
            assert record.configuration.get("kv_cache_dtype") == "fp8"


def test_screened_proposals_cost_nothing(finished: tuple[Bench, StudyEnd]) -> None:
    """What would not fit is recorded and told, never started, never counted."""
    bench, end = finished
    screened = [r for r in end.records if r.outcome.status is OutcomeStatus.SCREENED]
    assert screened
    started = {request.number for request in bench.runner.requests}
    assert started.isdisjoint(r.number for r in screened)
    assert len(started) == 16
    trials = bench.open().ledger.trials
    assert {trials[r.number].state for r in screened} == {TrialState.PRUNED}
    assert all(trials[r.number].constraints["host_memory"] > 0 for r in screened)


def test_the_record_is_on_disk_before_the_sampler_hears(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When `tell` is reached, the store already holds the record."""
    seen = []
    tell = AskTell.tell

    def watch(self: AskTell, record: object) -> None:
        seen.append(record in bench.store.records())
        tell(self, record)  # type: ignore[arg-type]

    monkeypatch.setattr(AskTell, "tell", watch)
    bench.run()
    assert len(seen) == TRIALS
    assert all(seen)


def test_constraints_are_the_same_keys_in_the_same_order(finished: tuple[Bench, StudyEnd]) -> None:
    """Every record and every row of the ledger carries every constraint in one order."""
    bench, end = finished
    orders = {tuple(r.constraints) for r in end.records}
    assert len(orders) == 1
    for trial in bench.open().ledger.trials:
        assert set(trial.constraints) == set(next(iter(orders)))


def test_optuna_agrees_on_the_front(finished: tuple[Bench, StudyEnd]) -> None:
    """The last event's front is Optuna's own set of best trials."""
    bench, _ = finished
    last = [e for e in bench.of(TrialEnded) if isinstance(e, TrialEnded)][-1]
    assert set(last.front) == {t.number for t in bench.open().ledger.best_trials}


def test_seeds_are_settled_and_run_before_the_search(tmp_path: Path) -> None:
    """A seed loses what this engine lacks; equal ones run once; the note says so."""
    seeds = [{"max_num_seqs": 256}, {"max_num_seqs": 256, "scheduler_steps": 8}]
    bench = Bench(tmp_path, study_spec(budget={"trials": 3}, seeds=seeds))
    bench.runner.lacking = {"scheduler_steps": "gone since 0.9"}
    end = bench.run()
    assert [r.kind for r in end.records][:2] == [TrialKind.BASELINE, TrialKind.SEED]
    assert end.records[1].configuration == Configuration.of({"max_num_seqs": 256})
    assert TrialKind.SEED not in {r.kind for r in end.records[2:]}
    notes = [e.text for e in bench.of(Notice) if isinstance(e, Notice)]
    assert any("scheduler_steps: gone since 0.9" in text for text in notes)


def test_a_value_outside_the_space_can_be_run(tmp_path: Path) -> None:
    """A fixed baseline may hold what the space does not; the ledger takes what it can."""
    baseline = {"attention_backend": "FLASH_ATTN", "gpu_memory_utilization": 0.87}
    bench = Bench(tmp_path, study_spec(budget={"trials": 2}, baseline=baseline))
    end = bench.run()
    assert end.records[0].configuration == Configuration.of(baseline)
    params = bench.open().ledger.trials[0].params
    assert "attention_backend" not in params
    assert "gpu_memory_utilization" not in params


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


def answered(
    number: int, kind: TrialKind, answers: Mapping[str, object], failure: Failure | None = None
) -> TrialRecord:
    """A trial of the default, or of another configuration, whose correctness probe answered."""
    of_default = kind in {TrialKind.BASELINE, TrialKind.RETRY}
    settings = {} if of_default else {"max_num_seqs": 16}
    probe = ProbeResult(probe="correctness", status=ProbeStatus.MEASURED, reference=answers)
    return TrialRecord(
        study="s",
        number=number,
        kind=kind,
        configuration=Configuration.of(settings),
        outcome=outcome_of(failure),
        probes=(probe,),
    )


def test_answers_are_held_against_a_default_that_broke_a_limit() -> None:
    """On a small card the default takes too much memory; its answers are right all the same."""
    baseline = answered(0, TrialKind.BASELINE, {"a": 1}, fail(FailureKind.MEMORY_LIMIT))
    other = answered(1, TrialKind.SEARCH, {})
    assert reference_answers([baseline, other]) == {"correctness": {"a": 1}}


def test_answers_are_held_against_a_default_that_had_to_be_run_again() -> None:
    """The first try failed by the host's fault and answered nothing; a stranger's do not count."""
    failed = answered(0, TrialKind.BASELINE, {}, fail(FailureKind.DEPLOYER_FAULT))
    other = answered(1, TrialKind.SEARCH, {"a": 2})
    assert reference_answers([failed, other]) is None
    retry = answered(2, TrialKind.RETRY, {"a": 1})
    assert reference_answers([failed, other, retry]) == {"correctness": {"a": 1}}


def test_a_baseline_that_is_repeated_keeps_the_first_answers() -> None:
    """It is held against them itself and so gives none of its own."""
    first, again = (answered(n, TrialKind.BASELINE, a) for n, a in ((0, {"a": 1}), (9, {})))
    assert reference_answers([first, again]) == {"correctness": {"a": 1}}


def test_the_end_time_is_honoured(tmp_path: Path) -> None:
    """Trials of 10 s in 75 s: seven, and no eighth that would run past the end."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 40, "timeout_s": 75}))
    end = bench.run()
    assert sum(counts(r) for r in end.records) == 7
    assert bench.clock.now_ns() <= 75e9
    assert "5 s are left" in end.reason


def test_time_left_is_estimated_from_the_trials_so_far(finished: tuple[Bench, StudyEnd]) -> None:
    """Trials of 10 s: what is left after each is ten times the trials to come."""
    bench, _ = finished
    ended = [e for e in bench.of(TrialEnded) if isinstance(e, TrialEnded)]
    started = [e.record for e in ended if counts(e.record)]
    left = {e.record.number: e.remaining_s for e in ended}
    for done, record in enumerate(started, start=1):
        assert left[record.number] == pytest.approx(10 * (16 - done), rel=1e-6)


def test_starts_are_announced_with_their_place(finished: tuple[Bench, StudyEnd]) -> None:
    """The live view hears how many are done and how many there will be."""
    bench, _ = finished
    started = [e for e in bench.of(TrialStarted) if isinstance(e, TrialStarted)]
    assert [e.trials_done for e in started] == list(range(16))
    assert {e.trials_total for e in started} == {16}


def test_an_exhausted_space_ends_the_study(tmp_path: Path) -> None:
    """When everything has been tried the study says so instead of trying it again."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 500}))
    small = SPACE.without(
        "gpu_memory_utilization", "kv_offload_gib", "block_size", "max_num_batched_tokens"
    )
    ask_tell = AskTell(bench.spec, small, bench.store, proposer_named("tpe", bench.spec, small))
    end = bench.clock.run(
        run_study(bench.spec, runner=bench.runner, store=bench.store, ask_tell=ask_tell,
                  observer=bench.events.append, clock=bench.clock)
    )  # fmt: skip
    proving = {TrialKind.FINALIST, TrialKind.ABLATION}
    searched = [r for r in end.records if r.kind not in proving]
    assert len(searched) == 2 * 4  # the baseline is one of them
    assert "every configuration" in end.reason


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


def test_what_the_space_forbids_is_not_started_by_ablation(tmp_path: Path) -> None:
    """A setting without which the rest is forbidden stays, and its record says why."""
    space = replace(
        SPACE,
        forbidden=(
            (
                Condition(parameter="kv_cache_dtype", values=("fp8",)),
                Condition(parameter="max_num_seqs", values=("default",)),
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
    chosen = recommend(end.records, bench.spec)
    assert chosen.configuration.get("kv_cache_dtype") == "fp8"
    reasons = {setting.parameter: setting.text for setting in chosen.settings}
    assert "forbidden" in reasons["max_num_seqs"]
    started = [request.configuration for request in bench.runner.requests]
    assert all(space.refusal(configuration) is None for configuration in started)


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
            if r.kind is TrialKind.ABLATION and not is_interrupted(r)]  # fmt: skip
    assert done == planned


def test_a_budget_too_small_for_ablations_says_so(finished: tuple[Bench, StudyEnd]) -> None:
    """Sixteen trials all search; what is recommended may hold settings that do nothing."""
    assert ablations(finished[1]) == []
    notes = [e.text for e in finished[0].of(Notice) if isinstance(e, Notice)]
    assert any("16 trials are too few to take settings away" in text for text in notes)


def test_a_default_over_a_memory_bound_is_repaired(tmp_path: Path) -> None:
    """0.3 GiB over on a card of 12: one share of the space lower fits, whatever a model thinks."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 4}))
    over = Failure(
        kind=FailureKind.MEMORY_LIMIT, phase="warming_up", message="GPU memory over the bound",
        margin_gib=-0.3,
    )  # fmt: skip
    bench.runner.script = {0: over}
    bench.runner.environment = {"gpu_memory_bytes": str(12 * 1024**3)}
    bench.runner.applied = {"gpu_memory_utilization": 0.92}
    end = bench.run()
    assert end.records[1].kind is TrialKind.REPAIR
    assert end.records[1].configuration == Configuration.of({"gpu_memory_utilization": 0.88})


def test_the_baseline_is_repeated_on_the_way(tmp_path: Path) -> None:
    """Every four trials the baseline comes again, as a part of the budget."""
    search = {"baseline_every": 4, "finalists": 0}
    bench = Bench(tmp_path, study_spec(budget={"trials": 11}, search=search))
    end = bench.run()
    kinds = [r.kind for r in end.records if counts(r)]
    places = [i for i, kind in enumerate(kinds) if kind is TrialKind.BASELINE]
    assert places == [0, 5, 10]


def test_a_settled_search_ends_early(tmp_path: Path) -> None:
    """When no proposal promises anything any more the study ends under its budget, and says so."""
    search = {"stop_below_gain": 0.5, "finalists": 0}
    bench = Bench(tmp_path, study_spec(budget={"trials": 60}, search=search))
    end = bench.run("surrogate")
    assert sum(counts(r) for r in end.records) < 60
    assert "no proposal promises 50.0% more hypervolume" in end.reason
