"""One autotune per GPU, whatever its study, folder or user: two would measure each other."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from autotune.errors import HostError
from autotune.locking import owner_or_lock
from autotune.seams.telemetry import Gpu

FOLDER: Final = Path("/tmp")  # noqa: S108 - for all users of the machine, root among them
"""Not `/run/lock`, which some distributions leave to root alone (systemd, legacy.conf)."""
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_ALL: Final = 0o666


class GpuLocks:
    """Held while servers of a study may use GPUs; `with GpuLocks(hardware.gpus): ...`.

    A file per card, locked as long as its owner lives (`autotune/locking.py`).

    Args:
        gpus: The cards; none is no lock.
        folder: Where the files lie.
    """

    def __init__(self, gpus: Iterable[Gpu], folder: Path | None = None) -> None:
        self._gpus = sorted(gpus, key=lambda gpu: gpu.index)
        self._folder = folder or FOLDER
        self._held: list[int] = []

    def __enter__(self) -> Self:
        """Take every lock, or none.

        Raises:
            HostError: If a living autotune has one of the cards; the message names its process.
        """
        try:
            for gpu in self._gpus:
                self._held.append(self._taken(gpu))
        except HostError:
            self._let_go()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        self._let_go()

    def _taken(self, gpu: Gpu) -> int:
        path = self._folder / f"autotune-{_name(gpu)}.lock"
        try:
            descriptor = _opened(path)
            owner = owner_or_lock(descriptor)
        except OSError as error:
            message = f"{path}, the lock of {gpu.name}, cannot be taken: {error.strerror}"
            raise HostError(message, hint="Remove it, or give every user the right.") from error
        if owner is not None:
            message = f"another autotune, process {owner}, uses GPU {gpu.index} ({gpu.name})"
            hint = "Wait for it or end it: two at once would measure each other."
            raise HostError(message, hint=hint)
        return descriptor

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.pop())


def _name(gpu: Gpu) -> str:
    """A card by what the driver calls it, in letters that a file's name may have."""
    return re.sub(r"[^\w-]", "-", gpu.uuid) or f"gpu-{gpu.index}"


def _opened(path: Path) -> int:
    """Open a lock file, made for all users.

    Without O_CREAT where it is there: in a sticky folder the kernel refuses that for a file of
    another user (fs.protected_regular, proc_sys_fs(5)).
    """
    with suppress(FileNotFoundError):
        return os.open(path, _FLAGS)
    descriptor = os.open(path, _FLAGS | os.O_CREAT, _FOR_ALL)
    with suppress(OSError):  # another user made it meanwhile
        os.fchmod(descriptor, _FOR_ALL)
    return descriptor
