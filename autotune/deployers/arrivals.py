"""Being told of new files in a folder at once (inotify(7)).

A file in shared memory says nothing of whose it is once nobody has it open or mapped. Looking at
processes now and then finds what they keep; this finds what they only write, or drop by dying.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

_CREATED: Final = 0x00000100  # IN_CREATE, linux/inotify.h
_MOVED_TO: Final = 0x00000080  # IN_MOVED_TO
_READ_BYTES: Final = 64 * 1024


class Arrivals:
    """Files that come into a folder from now on.

    Attributes:
        descriptor: Readable when some have come; None where the kernel refuses the watch (a
            user has 128 of them by default).
    """

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None)
        self.descriptor: int | None = None
        made = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if made < 0:
            return
        if libc.inotify_add_watch(made, os.fsencode(folder), _CREATED | _MOVED_TO) < 0:
            os.close(made)
            return
        self.descriptor = made

    def clear(self) -> None:
        """Take what has been told; which files they are, whoever looks sees for himself."""
        while self.descriptor is not None:
            try:
                os.read(self.descriptor, _READ_BYTES)
            except OSError:
                return

    def close(self) -> None:
        """Be told no more."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
