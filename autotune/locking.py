"""A `flock` that tells its owner: of a study, of a card.

The kernel lets go of it when the owner dies, however it dies, so there is no stale lock to clear.
Started engines do not inherit it, for Python's descriptors are closed on exec (PEP 446).
"""

import errno
import fcntl
import os
from contextlib import suppress
from typing import Final

_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})
"""What a lock says that somebody else has; EACCES where a network's server keeps it (flock(2))."""


def owner_or_lock(descriptor: int) -> str | None:
    """Lock an open file and write this process's id into it.

    Args:
        descriptor: Open for reading and writing; closed where it is not locked.

    Returns:
        None if the lock is ours until the descriptor is closed; else the process id of whoever
        has it, "unknown" if the file does not say.

    Raises:
        OSError: If that file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = ""
        with suppress(OSError):
            owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        if error.errno not in _TAKEN:
            raise
        return owner if owner.isdecimal() else "unknown"
    with suppress(OSError):  # a full disk: the lock holds, only its owner's number is missing
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return None


def lock_folder(descriptor: int) -> bool:
    """Lock an open folder: whether the lock is ours until the descriptor is closed.

    A file in it can be removed or replaced while it is locked, and its second is another file.
    Where folders cannot be locked (NFS asks for one that is open for writing), True.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True
