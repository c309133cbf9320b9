"""One controller per study."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from autotune.errors import StoreError, StudyConflictError
from autotune.locking import owner_or_lock
from autotune.store.files import sweep_unfinished


class StudyLock:
    """Held while a study runs; `with StudyLock(paths.lock): ...`.

    Whoever takes it removes what killed owners had begun to write beside it.

    It dies with its owner (`autotune/locking.py`).
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
        if (owner := owner_or_lock(descriptor)) is not None:
            message = f"study {self._path.parent.name!r} is being run by process {owner}"
            hint = "Wait for it, end it, or give this run another --name."
            raise StudyConflictError(message, hint=hint)
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
