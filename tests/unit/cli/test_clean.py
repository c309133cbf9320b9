"""`autotune clean`: what is a study's goes, and nothing else does, whatever it is called."""

import errno
import os
from pathlib import Path

import pytest

from autotune.cli.commands import clean as command
from autotune.cli.program import run
from autotune.errors import DockerUnavailableError, StoreError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, a declared one, notes, and a neighbour; nothing runs here."""
    here = tmp_path / "here"
    for path in (
        here / "studies/mine/study.yaml",
        here / "studies/mine/trials/0000/trial.json",
        here / "studies/declared.yaml",
        here / "studies/notes/plan.txt",
        here / "work/thesis.txt",
        tmp_path / "elsewhere/thesis.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    monkeypatch.chdir(here)
    monkeypatch.setattr(command, "DEPLOYERS", {})
    return here


def files(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_study_is_removed_and_its_neighbours_stay(place: Path, tmp_path: Path) -> None:
    """The folder of that name and nothing beside it."""
    before = files(tmp_path)
    assert run(["clean", "mine", "--results", "--yes"]) == 0
    assert files(tmp_path) == {name for name in before if "/mine/" not in name}
    assert not (place / "studies/mine").exists()


@pytest.mark.parametrize(
    "name",
    ["..", ".", "", "/", "../work", "../../elsewhere", "mine/..", "mine/trials", "notes", "nobody",
     "declared", "{outside}", "-", "mine\n", "\x00"],
)  # fmt: skip
def test_what_is_no_study_of_ours_is_refused_and_stays(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path, a folder that holds nothing of autotune's, a name that nobody has."""
    before = files(tmp_path)
    name = name.format(outside=tmp_path / "elsewhere")
    assert run(["clean", "--results", "--yes", "--", name]) == 2
    assert "there is no study" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_link_to_a_study_is_not_followed(place: Path, tmp_path: Path) -> None:
    """What it leads to is somebody else's."""
    (place / "studies/linked").symlink_to(place / "studies/mine")
    before = files(tmp_path)
    assert run(["clean", "linked", "--results", "--yes"]) == 2
    assert files(tmp_path) == before


def test_what_cannot_be_removed_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file that is in the way; root, who may remove everything, is refused here, too."""
    in_the_way = str(place / "studies/mine/trials/0000/trial.json")

    def refuse(_path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), in_the_way)

    monkeypatch.setattr(command.shutil, "rmtree", refuse)
    assert run(["clean", "mine", "--results", "--yes"]) == StoreError.exit_code
    assert f"{in_the_way} cannot be removed: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["show"], ["report"], ["recommend"], ["export"]])
def test_no_command_reads_or_writes_a_study_by_a_path(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study has a name; what lies elsewhere is not looked into."""
    before = files(tmp_path)
    (tmp_path / "elsewhere/study.yaml").write_text("name: elsewhere\n")
    assert run([*arguments, str(tmp_path / "elsewhere")]) == 2
    assert "there is no study" in capsys.readouterr().err
    assert files(tmp_path) == {*before, "elsewhere/study.yaml"}


class Silent:
    """Containers of an engine that does not answer."""

    def __init__(self, _clock: object) -> None:
        pass

    async def sweep(self, _study: str) -> tuple[str, ...]:
        """As the Docker deployer."""
        message = "no Docker engine answers: away"
        raise DockerUnavailableError(message, hint="Start it.")


@pytest.mark.usefixtures("place")
def test_containers_that_could_not_be_looked_for_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One may run on while its engine is away: that none was found is not that there is none."""
    monkeypatch.setattr(command, "DEPLOYERS", {"docker": Silent})
    assert run(["clean", "mine"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "nothing was found running",
        "containers were not looked for: no Docker engine answers: away",
    ]
