"""A study from first to last trial on a runner that measures a made-up landscape."""

from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.events import Notice, TrialEnded, TrialStarted
from autotune.study.agenda import counts
from autotune.study.ask_tell import AskTell
from autotune.study.budget import BudgetWatch
from autotune.study.loop import StudyEnd, run_study
from autotune.study.proposals import proposer_named
from tests.unit.study.bench import TRIALS, Bench
from tests.unit.study.fakes import SPACE, study_spec


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
    run = [record.configuration for record in finished[1].records[1:]]
    assert [SPACE.refusal(configuration) for configuration in run] == [None] * len(run)
    sized = [c.get("kv_cache_dtype") for c in run if c.get("block_size") is not None]
    assert set(sized) == {"fp8"}


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

    def watch(self: AskTell, record: TrialRecord, learnt: TrialRecord | None = None) -> None:
        seen.append(record in bench.store.records())
        tell(self, record, learnt)

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


def test_the_end_time_is_honoured(tmp_path: Path) -> None:
    """Trials of 10 s in 75 s: seven, and no eighth that would run past the end."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 40, "timeout_s": 75}))
    end = bench.run()
    assert sum(counts(r) for r in end.records) == 7
    assert bench.clock.now_ns() <= 75e9
    assert "5 s are left (virtual time" in end.reason


def test_time_that_is_over_is_told_as_people_say_it(tmp_path: Path) -> None:
    """That a simulated study counts virtual seconds is said: nobody waited for them."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 40, "timeout_s": 60}, limits=[]))
    bench.clock.run(bench.clock.sleep(1))
    watch = BudgetWatch.begin(bench.spec.budget, bench.clock)
    bench.clock.run(bench.clock.sleep(61))
    assert watch.spent(()) == (
        "the time of 60 s is over (virtual time, which a simulated study counts)"
    )
    hour = study_spec(budget={"timeout_s": 7200}).budget
    begun = BudgetWatch.begin(hour, bench.clock)
    bench.clock.run(bench.clock.sleep(7201))
    assert (begun.spent(()) or "").startswith("the time of 2 h is over")


def test_trials_that_do_not_count_are_told_beside_those_that_do(
    finished: tuple[Bench, StudyEnd],
) -> None:
    """The list is longer than the budget by the screened ones."""
    _, end = finished
    aside = len(end.records) - 16
    assert aside > 0
    assert end.reason == f"16 trials are done and {aside} more did not count"


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
    searched = {r.configuration for r in end.records if r.kind not in proving}
    assert len(searched) == 2 * 4  # the baseline is one of them
    assert "every configuration" in end.reason


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
    """Twice at the start, then after every four trials, as a part of the budget."""
    search = {"baseline_every": 4, "finalists": 0}
    bench = Bench(tmp_path, study_spec(budget={"trials": 12}, search=search))
    end = bench.run()
    kinds = [r.kind for r in end.records if counts(r)]
    places = [i for i, kind in enumerate(kinds) if kind is TrialKind.BASELINE]
    assert places == [0, 1, 6, 11]


def test_a_small_study_measures_its_baseline_once(tmp_path: Path) -> None:
    """Under ten trials a repeat would be a tenth of the budget; whoever asks for it has it."""
    for repeats, wanted in ((None, 1), (3, 3)):
        budget = {"trials": 6, "baseline_repeats": repeats}
        bench = Bench(tmp_path / str(repeats), study_spec(budget=budget))
        kinds = [r.kind for r in bench.run().records if counts(r)]
        assert kinds.count(TrialKind.BASELINE) == wanted
        assert len(kinds) == 6


def test_a_study_that_goes_on_elsewhere_measures_its_baseline_there(tmp_path: Path) -> None:
    """The first trial on the other machine tells; the baseline follows it, twice."""
    search = {"finalists": 0, "baseline_every": 0}
    bench = Bench(tmp_path, study_spec(budget={"trials": 10}, search=search))
    bench.runner.environment = {"gpu_uuid": "GPU-1"}
    bench.run()
    more = Bench(tmp_path, study_spec(budget={"trials": 20}, search=search))
    more.runner.environment = {"gpu_uuid": "GPU-2"}
    end = more.run()
    kinds = [r.kind for r in end.records if counts(r)]
    places = [i for i, kind in enumerate(kinds) if kind is TrialKind.BASELINE]
    assert places == [0, 1, 11, 12]


def test_a_settled_search_ends_early(tmp_path: Path) -> None:
    """When no proposal promises anything any more the study ends under its budget, and says so."""
    search = {"stop_below_gain": 0.5, "finalists": 0}
    bench = Bench(tmp_path, study_spec(budget={"trials": 60}, search=search))
    end = bench.run("surrogate")
    assert sum(counts(r) for r in end.records) < 60
    assert "no proposal promises 50.0% more hypervolume" in end.reason


def test_a_disturbed_trial_is_repeated_beside_the_budget(tmp_path: Path) -> None:
    """At once, as a retry; the study has as many trials as it was given."""
    bench = Bench(tmp_path, study_spec(budget={"trials": 6}, search={"finalists": 0}))
    bench.runner.disturbed = {3: "another process was on the card"}
    end = bench.run()
    assert sum(counts(r) for r in end.records) == 6
    slow = next(r for r in end.records if r.is_disturbed)
    after = end.records[slow.number + 1]
    assert (after.kind, after.configuration) == (TrialKind.RETRY, slow.configuration)
