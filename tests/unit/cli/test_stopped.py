"""What is told after Ctrl-C."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.stopped import told_when_stopped
from autotune.paths import StudyPaths
from autotune.records import Failure, FailureKind, Outcome, OutcomeStatus, TrialRecord
from autotune.store import TrialStore
from tests.support.records import record

INTERRUPTED = Outcome(
    status=OutcomeStatus.FAILED,
    failure=Failure(
        kind=FailureKind.INTERRUPTED, phase="probe:long_context", message="stopped by the user"
    ),
)


def made(number: int, store: TrialStore) -> TrialRecord:
    """A finished trial of the store's study."""
    return replace(record(number), study=store.study)


def stop(store: TrialStore, *during: TrialRecord) -> None:
    """Ctrl-C once these trials are on disk."""

    def run() -> None:
        for done in during:
            store.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), told_when_stopped(store):
        run()


def test_it_names_the_trial_that_was_cut_off_what_is_kept_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also that what was cut off is run again."""
    store = TrialStore(StudyPaths(tmp_path / "s"))
    for number in range(3):
        store.append(made(number, store))
    stop(store, made(3, store), replace(made(4, store), outcome=INTERRUPTED))
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "stopped: trial 4 was cut off (probe long context)",
        f"kept: 4 finished trials in {tmp_path / 's'}",
        "go on: the same command; what was cut off is run again",
    ]


def test_between_trials_nothing_is_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that an earlier Ctrl-C cut off is not told again."""
    store = TrialStore(StudyPaths(tmp_path / "s"))
    store.append(replace(made(0, store), outcome=INTERRUPTED))
    stop(store, made(1, store))
    told = capsys.readouterr().err
    assert "no trial was running" in told
    assert "kept: 1 finished trial in" in told


def test_what_ends_by_itself_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a good end nor an error is a stop."""
    store = TrialStore(StudyPaths(tmp_path / "s"))
    with told_when_stopped(store):
        pass
    with pytest.raises(LookupError), told_when_stopped(store):
        raise LookupError
    assert capsys.readouterr().err == ""
