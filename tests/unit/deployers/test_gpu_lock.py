"""One autotune per GPU."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.deployers.gpu_lock import GpuLocks
from autotune.errors import HostError
from autotune.seams.telemetry import Gpu
from tests.support.no_locks import refuse_locks

HOLD = """
import sys
from pathlib import Path
from autotune.deployers.gpu_lock import GpuLocks
from autotune.seams.telemetry import Gpu
gpu = Gpu(index=1, name="g", memory_bytes=1, compute_capability=(9, 0), uuid="GPU-b")
with GpuLocks([gpu], Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def card(index: int, uuid: str) -> Gpu:
    """A GPU."""
    return Gpu(index=index, name="g", memory_bytes=1, compute_capability=(9, 0), uuid=uuid)


FIRST, SECOND = card(0, "GPU-a"), card(1, "GPU-b")


def test_a_card_in_use_is_refused_until_its_owner_is_dead(tmp_path: Path) -> None:
    """Another study's process is named; once that is killed, the card is to be had."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(HostError, match=rf"process {owner.pid}, uses GPU 1") as raised:
            GpuLocks([FIRST, SECOND], tmp_path).__enter__()
        assert raised.value.hint
        with GpuLocks([FIRST], tmp_path):  # and none of the others is kept
            owner.kill()
            owner.wait(timeout=30)
    with GpuLocks([FIRST, SECOND], tmp_path):
        assert (tmp_path / "autotune-GPU-b.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_for_every_user_of_the_machine(tmp_path: Path) -> None:
    """The next one to take it may be somebody else."""
    with GpuLocks([FIRST], tmp_path):
        pass
    mode = (tmp_path / "autotune-GPU-a.lock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o666


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever planted it would have a file of the user's overwritten."""
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "autotune-GPU-a.lock").symlink_to(target)
    with pytest.raises(HostError, match="cannot be taken"):
        GpuLocks([FIRST], tmp_path).__enter__()
    assert target.read_text() == "kept"


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has the card; that nobody else takes it cannot be promised."""
    refuse_locks(monkeypatch)
    with pytest.raises(HostError, match="No locks available"):
        GpuLocks([FIRST], tmp_path).__enter__()


def test_a_machine_without_a_card_has_no_lock(tmp_path: Path) -> None:
    """Nothing is made."""
    with GpuLocks([], tmp_path), GpuLocks([], tmp_path):
        assert list(tmp_path.glob("autotune-*")) == []
