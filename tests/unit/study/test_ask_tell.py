"""The ledger: what it holds on disk, and what it leaves in memory."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autotune.paths import StudyPaths
from autotune.records import Configuration, Outcome, OutcomeStatus, TrialKind, TrialRecord
from autotune.store import TrialStore
from autotune.study.ask_tell import AskTell
from autotune.study.proposals import proposer_named
from autotune.study.storage import open_storage, open_study
from tests.unit.study.fakes import SPACE, measured, study_spec

SPEC = study_spec()
CONFIGURATION = Configuration.of({"max_num_batched_tokens": 2048, "gpu_memory_utilization": 0.9})


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    """An empty one."""
    return TrialStore(StudyPaths(tmp_path / "s"))


@pytest.fixture
def ask_tell(store: TrialStore) -> AskTell:
    """A ledger without trials."""
    return AskTell(SPEC, SPACE, store, proposer_named("random", SPEC, SPACE))


def record(number: int, status: OutcomeStatus = OutcomeStatus.MEASURED) -> TrialRecord:
    """A trial of the made-up landscape."""
    return TrialRecord(
        study="s", number=number, kind=TrialKind.SEARCH, configuration=CONFIGURATION,
        outcome=Outcome(status=status), metrics=measured(CONFIGURATION),
    )  # fmt: skip


def test_details_of_finished_trials_are_on_disk_and_not_in_memory(
    store: TrialStore, ask_tell: AskTell
) -> None:
    """A hundred attributes for each of hundreds of trials would stay for days."""
    number = ask_tell.start(CONFIGURATION, TrialKind.SEARCH)
    ask_tell.tell(record(number))
    ask_tell.add_finished(replace(record(number + 1), kind=TrialKind.SEED))

    for trial in ask_tell.ledger.get_trials(deepcopy=False):
        assert trial.state is TrialState.COMPLETE
        assert (trial.user_attrs, trial.params, trial.distributions) == ({}, {}, {})
    on_disk = open_study(open_storage(store.paths.database), SPEC).get_trials()
    assert [t.user_attrs["kind"] for t in on_disk] == ["search", "seed"]
    assert all(t.user_attrs["outcome"] == "measured" for t in on_disk)
    assert all(t.params.items() >= CONFIGURATION.values.items() for t in on_disk)


def test_a_running_trial_keeps_what_it_is_known_by(ask_tell: AskTell) -> None:
    """Should this process die, the next one names it by these."""
    ask_tell.tell(record(ask_tell.start(CONFIGURATION, TrialKind.SEARCH)))
    ask_tell.start(CONFIGURATION, TrialKind.RETRY, label="again")
    running = ask_tell.ledger.get_trials(deepcopy=False)[1]
    assert (running.user_attrs["kind"], running.user_attrs["label"]) == ("retry", "again")
