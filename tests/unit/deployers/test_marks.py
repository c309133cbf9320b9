"""Marks by which leftovers are found, and the verdict on their owner."""

import subprocess
import sys
from dataclasses import replace

import pytest

from autotune.deployers.marks import (
    OwnerState,
    environment_marks,
    identity_of,
    is_of_an_earlier_boot,
    labels,
    named,
    owner,
    owner_state,
)
from autotune.seams.deployment import Identity


def mine(**changes: object) -> Identity:
    """An identity of this process."""
    pid, start = owner()
    identity = Identity(study="rtx5070", trial=12, owner_pid=pid, owner_start=start)
    return replace(identity, **changes)  # type: ignore[arg-type]


def start_with(index: int, value: str) -> str:
    """This process's start with one of its parts changed."""
    parts = owner()[1].split("/")
    parts[index] = value
    return "/".join(parts)


@pytest.mark.parametrize("make", [environment_marks, labels])
def test_marks_are_read_back(make: object) -> None:
    """An identity survives the way through environment variables and through labels."""
    assert callable(make)
    assert identity_of({"PATH": "/bin", **make(mine(), "d1")}) == mine()


@pytest.mark.parametrize("lost", ["study", "trial", "owner", "deployment"])
def test_marks_that_are_not_whole_are_none(lost: str) -> None:
    """Somebody who happens to set one of the names is not taken for a leftover."""
    marks = environment_marks(mine(), "d1")
    del marks[f"AUTOTUNE_{lost.upper()}"]
    assert identity_of(marks) is None


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5"])
def test_a_trial_that_is_no_number(value: str) -> None:
    """Marks of another make are none."""
    assert identity_of({**environment_marks(mine(), "d1"), "AUTOTUNE_TRIAL": value}) is None


def test_this_process_is_alive() -> None:
    """The owner of what this process starts is alive."""
    assert owner_state(mine()) is OwnerState.ALIVE


def test_a_process_that_has_ended_is_dead() -> None:
    """An owner that is gone is dead, whether it has been waited for or not."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid, start = owner(child.pid)
    identity = mine(owner_pid=pid, owner_start=start)
    assert owner_state(identity) is OwnerState.ALIVE
    child.kill()
    child.communicate()
    assert owner_state(identity) is OwnerState.DEAD


def test_a_number_that_was_given_again_is_dead() -> None:
    """Another process with the owner's number is not the owner."""
    assert owner_state(mine(owner_start=start_with(3, "1"))) is OwnerState.DEAD


def test_a_boot_ends_everybody() -> None:
    """Before the last boot of this machine nobody alive was started."""
    identity = mine(owner_start=start_with(1, "another-boot"))
    assert owner_state(identity) is OwnerState.DEAD
    assert is_of_an_earlier_boot(identity)
    assert not is_of_an_earlier_boot(mine())


@pytest.mark.parametrize("index", [0, 2])
def test_elsewhere_nobody_can_tell(index: int) -> None:
    """An owner on another machine, or in another PID namespace of this one, may be alive."""
    identity = mine(owner_start=start_with(index, "another"))
    assert owner_state(identity) is OwnerState.UNKNOWN
    assert not is_of_an_earlier_boot(identity)


def test_a_start_in_another_form_is_completed() -> None:
    """An identity whose start is not one of ours gets that of its process."""
    assert named(mine(owner_start="1700000000.25")) == mine()
    assert named(mine()) == mine()
    assert owner_state(mine(owner_start="1700000000.25")) is OwnerState.UNKNOWN


@pytest.mark.parametrize(
    ("error", "state"),
    [(PermissionError, OwnerState.UNKNOWN), (ProcessLookupError, OwnerState.DEAD)],
)
def test_another_users_process_that_proc_hides_may_be_alive(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError], state: OwnerState
) -> None:
    """With hidepid nobody sees it, and a signal is refused where there is one (kill(2))."""

    def refuse(_pid: int, _number: int) -> None:
        raise error

    identity = mine()
    monkeypatch.setattr("autotune.deployers.marks.read_stat", lambda _pid: None)
    monkeypatch.setattr("autotune.deployers.marks.os.kill", refuse)
    assert owner_state(identity) is state
