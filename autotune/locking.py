"""A `flock` that tells its owner: of a study, of a card.

The kernel lets go of it when the owner dies, however it dies, so there is no stale lock to clear.
Started engines do not inherit it, for Python's descriptors are closed on exec (PEP 446).
"""

import fcntl
import os
from contextlib import suppress


def owner_or_lock(descriptor: int) -> str | None:
    """Lock an open file and write this process's id into it.

    Args:
        descriptor: Open for reading and writing; closed where somebody else has the lock.

    Returns:
        None if the lock is ours until the descriptor is closed; else the process id of whoever
        has it, "unknown" if the file does not say.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        return owner
    with suppress(OSError):  # a full disk: the lock holds, only its owner's number is missing
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return None
