"""One controller per study."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.errors import StoreError, StudyConflictError
from autotune.store import StudyLock
from tests.support.no_locks import refuse_locks

_HOLD = """
import sys
from pathlib import Path
from autotune.store import StudyLock
with StudyLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_living_owner_is_named(tmp_path: Path) -> None:
    """Another process gets a conflict that names the owner; once that is killed, the lock."""
    path = tmp_path / "s" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(StudyConflictError, match=f"process {owner.pid}"), StudyLock(path):
            pass
        owner.kill()
        owner.wait(timeout=30)
    with StudyLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_it_can_be_taken_again_after_release(tmp_path: Path) -> None:
    """Leaving the block lets go."""
    for _ in range(2):
        with StudyLock(tmp_path / "lock"):
            assert (tmp_path / "lock").exists()


def test_a_full_disk_does_not_keep_the_lock_from_holding() -> None:
    """`/dev/full` takes no byte: the owner's number is missing, the lock is there."""
    path = Path("/dev/full")
    with StudyLock(path), pytest.raises(StudyConflictError), StudyLock(path):
        pass


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A file where the study's folder should be is told, not raised through."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"), StudyLock(tmp_path / "file" / "lock"):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever packed the study's folder would have a file of the user's overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(StoreError), StudyLock(tmp_path / "lock"):
        pass
    assert precious.read_text() == "kept"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_it_holds_whatever_becomes_of_its_file(tmp_path: Path, how: str) -> None:
    """Somebody tidied up, or copied the folder's content over itself, while the study runs."""
    path = tmp_path / "s" / "lock"
    with StudyLock(path):
        path.unlink()
        if how == "replaced":
            path.write_text("")
        with pytest.raises(StudyConflictError), StudyLock(path):
            pass
    with StudyLock(path):
        pass


def test_it_holds_by_whatever_path_the_study_is_reached(tmp_path: Path) -> None:
    """A link to the folder leads to the same study."""
    (tmp_path / "s").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "s")
    with (
        StudyLock(tmp_path / "s" / "lock"),
        pytest.raises(StudyConflictError, match=f"process {os.getpid()}"),
        StudyLock(tmp_path / "link" / "lock"),
    ):
        pass


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not called another run of the study."""
    refuse_locks(monkeypatch)
    with pytest.raises(StoreError, match="No locks available"), StudyLock(tmp_path / "lock"):
        pass


def test_a_folder_that_cannot_be_locked_leaves_it_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, which asks for a descriptor that may write (flock(2))."""
    flock = fcntl.flock

    def without_folders(descriptor: int, how: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, how)

    monkeypatch.setattr("autotune.locking.fcntl.flock", without_folders)
    lock = tmp_path / "lock"
    with StudyLock(lock), pytest.raises(StudyConflictError), StudyLock(lock):
        pass


def test_what_a_killed_owner_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    """Half a file of a dead process goes with the next start; a living process's stays."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait(timeout=30)
    trial = tmp_path / "trials" / "0003"
    trial.mkdir(parents=True)
    gone = [tmp_path / f".optuna.db.{dead.pid}.new-journal", trial / f".trial.json.{dead.pid}.q"]
    stays = [tmp_path / ".env", trial / f".trial.json.{os.getpid()}.q", trial / "trial.json"]
    for path in (*gone, *stays):
        path.write_text("half")
    with StudyLock(tmp_path / "lock"):
        assert not any(path.exists() for path in gone)
        assert all(path.exists() for path in stays)
