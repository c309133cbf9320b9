"""A file system without locks."""

import errno
import os

import pytest


def refuse_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lock is refused, as by a network's file system that keeps none (flock(2))."""

    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("autotune.locking.fcntl.flock", refuse)
