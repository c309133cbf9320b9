"""A study that is refused before its first trial."""

from pathlib import Path

import pytest

from autotune.cli.main import run
from autotune.cli.refused import no_trace_of_a_refusal
from autotune.errors import DeployerError
from autotune.paths import StudyPaths
from autotune.store import StudyLock


def refused(paths: StudyPaths, *made: Path) -> None:
    """A run that writes some files and is then told that its port is taken."""
    with pytest.raises(DeployerError):
        _refuse(paths, *made)


def _refuse(paths: StudyPaths, *made: Path) -> None:
    no_trace = no_trace_of_a_refusal(paths)
    message = "port 8000 is taken"
    with StudyLock(paths.lock), no_trace:
        for path in (paths.spec, *made):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("written")
        raise DeployerError(message, hint="Set another one.")


def test_its_new_folder_goes_again(tmp_path: Path) -> None:
    """And the folder of results with it, if it was the first one there."""
    refused(StudyPaths(tmp_path / "studies" / "p1"))
    assert not (tmp_path / "studies").exists()


def test_other_studies_stay(tmp_path: Path) -> None:
    """Only what this run has made goes."""
    other = tmp_path / "studies" / "other"
    other.mkdir(parents=True)
    refused(StudyPaths(tmp_path / "studies" / "p1"))
    assert list((tmp_path / "studies").iterdir()) == [other]


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    """A study that goes on keeps what it has."""
    paths = StudyPaths(tmp_path / "p1")
    paths.root.mkdir()
    refused(paths)
    assert paths.spec.read_text() == "written"


def test_a_study_with_a_trial_stays(tmp_path: Path) -> None:
    """What ends a study later on is no refusal."""
    paths = StudyPaths(tmp_path / "p1")
    refused(paths, paths.trial(0).record)
    assert paths.trial(0).record.exists()


@pytest.mark.parametrize("command", ["study", "matrix"])
def test_a_command_that_is_refused_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """By its preflight, after the study was written down."""

    async def refuse(_workbench: object) -> None:
        message = "somebody else listens on 127.0.0.1:8000"
        raise DeployerError(message, hint="Set another port.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"autotune.cli.commands.{command}.preflight", refuse)
    assert run([command, "--engine", "simulated"]) == DeployerError.exit_code
    assert not (tmp_path / "studies").exists()
