"""What is written down of a deployment, and whom that finds again."""

from pathlib import Path

import pytest

from autotune.deployers.footprint import Footprint, footprints, private_folder
from autotune.deployers.processes import ProcessId, Stat
from autotune.deployers.shared_memory import ShmFile
from autotune.errors import DeployerError
from autotune.seams.deployment import Identity

SUPERVISOR, ENGINE = 100, 200
IDENTITY = Identity(study="s", trial=3, owner_pid=1, owner_start="m/b/n/1")


def footprint(*, known: tuple[int, ...] = (ENGINE,)) -> Footprint:
    """A supervisor, an engine, and whom they were seen with."""
    return Footprint(
        deployment="d1",
        identity=IDENTITY,
        supervisor=ProcessId(SUPERVISOR, SUPERVISOR),
        engine=ProcessId(ENGINE, ENGINE),
        processes=frozenset(ProcessId(pid, pid) for pid in known),
        shm_before=frozenset({ShmFile("psm_a", 5)}),
        shm_seen=frozenset({ShmFile("psm_b", 6), ShmFile("psm_c", 7)}),
    )


def running(*rows: tuple[int, int, int]) -> dict[int, Stat]:
    """Processes by pid, parent and session; each started at the tick of its number."""
    return {pid: Stat(pid, "S", parent, pid, session, pid) for pid, parent, session in rows}


def pids(found: set[ProcessId]) -> set[int]:
    """Their numbers."""
    return {process.pid for process in found}


def test_it_is_read_back(tmp_path: Path) -> None:
    """Everything written down is read again, and a removed note is gone."""
    footprint().save(tmp_path)
    assert list(footprints(tmp_path)) == [footprint()]
    footprint().path(tmp_path).unlink()
    assert list(footprints(tmp_path)) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"deployment": "d", "identity": 3}'])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    """What cannot be read is passed over, and the others are found."""
    (tmp_path / "damaged.json").write_text(text)
    footprint().save(tmp_path)
    assert list(footprints(tmp_path)) == [footprint()]


def test_a_full_disk_keeps_the_last_note(tmp_path: Path) -> None:
    """A note that cannot be written leaves the one before, and no half of a file."""
    footprint().save(tmp_path)
    (tmp_path / "d1.part").mkdir()  # in the way, as a full disk would be
    footprint(known=(ENGINE, 201)).save(tmp_path)
    assert list(footprints(tmp_path)) == [footprint()]


def test_while_the_supervisor_lives_nobody_escapes() -> None:
    """Its descendants are the deployment's, in whatever session; the supervisor is not."""
    stats = running(
        (SUPERVISOR, 1, SUPERVISOR),
        (ENGINE, SUPERVISOR, ENGINE),
        (201, ENGINE, ENGINE),
        (300, SUPERVISOR, 300),  # a daemon that lost its parent
        (301, 300, 300),
        (400, 1, 400),
    )
    assert pids(footprint().members(stats)) == {ENGINE, 201, 300, 301}


def test_without_a_supervisor_the_session_and_the_known_are_found() -> None:
    """After its death: the engine's session, those seen before, and their children."""
    stats = running(
        (ENGINE, 1, ENGINE),
        (201, 1, ENGINE),  # of the engine's session, never seen
        (300, 1, 300),  # seen before
        (301, 300, 301),
        (400, 1, 400),
    )
    assert pids(footprint(known=(ENGINE, 300)).members(stats)) == {ENGINE, 201, 300, 301}


def test_numbers_that_were_given_again_are_strangers() -> None:
    """Other processes with the numbers of supervisor and engine, and theirs, are left alone."""
    stats = {
        SUPERVISOR: Stat(SUPERVISOR, "S", 1, SUPERVISOR, SUPERVISOR, 7777),
        ENGINE: Stat(ENGINE, "S", 1, ENGINE, ENGINE, 8888),
        201: Stat(201, "S", ENGINE, ENGINE, ENGINE, 8889),
        202: Stat(202, "S", SUPERVISOR, SUPERVISOR, SUPERVISOR, 7778),
    }
    assert footprint().members(stats) == set()


def test_the_dead_are_no_members() -> None:
    """A zombie has ended, whoever has not yet looked at it."""
    stats = {ENGINE: Stat(ENGINE, "Z", 1, ENGINE, ENGINE, ENGINE)}
    assert footprint().members(stats) == set()


def test_the_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes about processes are for their user alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = private_folder()
    assert folder.is_relative_to(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_place_for_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that cannot be made is an error that names the way out."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeployerError) as raised:
        private_folder()
    assert "XDG_STATE_HOME" in raised.value.hint
