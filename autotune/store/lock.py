"""One controller per study."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from autotune.errors import StoreError, StudyConflictError
from autotune.store.files import sweep_unfinished


class StudyLock:
    """Held while a study runs; `with StudyLock(paths.lock): ...`.

    Whoever takes it removes what killed owners had begun to write beside it.

    It is a `flock` on a file that holds the owner's process id. The kernel lets go of it when the
    owner dies, however it dies, so there is no stale lock to clear. Started engines do not
    inherit it, for Python's descriptors are closed on exec (PEP 446).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StudyConflictError: If a living process holds it; the message names its id.
            StoreError: If the file cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            message = f"{self._path} cannot be made: {error.strerror}"
            raise StoreError(message, hint="Check rights and free space of that disk.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            message = f"study {self._path.parent.name!r} is being run by process {owner}"
            hint = "Wait for it, end it, or give this run another --name."
            raise StudyConflictError(message, hint=hint) from error
        with suppress(OSError):  # a full disk: the lock holds, only its owner's number is missing
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        sweep_unfinished(self._path.parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
