"""Files that are either wholly there or not there at all."""

import errno
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from autotune.errors import StoreError

FOLDERS_ABOVE: Final = 3
_UNFINISHED: Final = re.compile(r"\..+\.(?P<pid>[0-9]{1,10})\.[\w-]+")
"""Names of files in the making: `.trial.json.PID.RANDOM`, `.optuna.db.PID.new-journal`."""


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a power cut, never meets half of it.

    Temporary file in the same folder, fsync, rename, fsync of the folder and of those above it in
    which it may be new (a trial's in `trials/`, that one in the study's; fsync(2)).

    Args:
        path: The file; its folder is made.
        text: What it is to hold.
        mode: Its rights, from the moment that it is there.

    Raises:
        StoreError: If the folder cannot be written or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text, mode)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise StoreError(message, hint="Check rights and free space of that disk.") from error


def read_regular(path: Path) -> bytes:
    """The content of a file, and of nothing else: a pipe in its place would be waited for.

    Raises:
        OSError: If it cannot be read or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return file.read()


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a study's folders; what a living one writes stays."""
    for pattern in (".*", "recommended/.*", "trials/*/.*"):
        for path in folder.glob(pattern):
            named = _UNFINISHED.fullmatch(path.name)
            if named is not None and not Path("/proc", named["pid"]).exists():
                with suppress(OSError):  # a folder of that name, or one that may only be read
                    path.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    prefix = f".{path.name}.{os.getpid()}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:  # whatever it was, the temporary file must go before it is raised on
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    for folder in path.absolute().parents[1:FOLDERS_ABOVE]:
        with suppress(OSError):  # one that may be passed through and not read
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
