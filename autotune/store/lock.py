"""One controller per study."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from autotune.errors import StoreError, StudyConflictError
from autotune.locking import lock_folder, owner_or_lock
from autotune.store.files import sweep_unfinished

_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
"""No link is followed: what it leads to would be emptied and hold a number."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class StudyLock:
    """Held while a study runs; `with StudyLock(paths.lock): ...`.

    Whoever takes it removes what killed owners had begun to write beside it.

    It dies with its owner (`autotune/locking.py`). The file tells who that is, and where folders
    can be locked the study's holds the lock, too, so that it outlives the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StudyConflictError: If a living process holds it; the message names its id.
            StoreError: If the file cannot be made or locked.
        """
        with ExitStack() as held:
            try:
                owner = self._take(held)
            except OSError as error:
                message = f"{self._path} cannot be made or locked: {error.strerror}"
                hint = "Check rights and free space of that disk."
                raise StoreError(message, hint=hint) from error
            if owner is not None:
                message = f"study {self._path.parent.name!r} is being run by process {owner}"
                hint = "Wait for it, end it, or give this run another --name."
                raise StudyConflictError(message, hint=hint)
            self._held = held.pop_all()
        sweep_unfinished(self._path.parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        self._held.close()

    def _take(self, held: ExitStack) -> str | None:
        """Lock both; whoever has one of them, if somebody has."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._path.parent, _FOLDER)
        held.callback(os.close, folder)
        file = os.open(self._path, _FILE, 0o644)
        if (owner := owner_or_lock(file)) is not None:
            return owner
        held.callback(os.close, file)
        return None if lock_folder(folder) else "unknown"
