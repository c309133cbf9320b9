"""What becomes of a run whose output nobody takes any more.

    autotune study ... | head          the reader has gone
    autotune study ... > on-a-full-disk

A view that raised in the middle of a trial would be that trial's failure, or keep its server from
being stopped. So the loss is kept, nothing further is written, and the run ends as after Ctrl-C:
the trial is recorded, the server gone, and the same command goes on.
"""

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from autotune.errors import OutputLostError
from autotune.seams.events import Event

LOST: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF})
"""A reader that went, a full disk, a terminal that is closed (EIO)."""


def output_lost(error: OSError) -> OutputLostError:
    """The error of a command whose output broke off."""
    message = f"the output cannot be written: {error.strerror or error}"
    hint = "Send it where there is room and somebody to read it, and run the same command."
    return OutputLostError(message, hint=hint)


class Watcher(Protocol):
    """A view as it is made: live, plain lines or JSON."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End; what is buffered is written."""
        ...

    def __call__(self, event: Event) -> None:
        """Show one event."""
        ...


class Lasting:
    """A view that never raises into what it watches.

    Args:
        view: The one that writes.
        interrupt: Ends the run; by default what Ctrl-C does.
    """

    def __init__(
        self,
        view: Watcher,
        interrupt: Callable[[], None] = lambda: signal.raise_signal(signal.SIGINT),
    ) -> None:
        self._view = view
        self._interrupt = interrupt
        self._lost: OSError | None = None

    def __enter__(self) -> Self:
        self._try(self._view.start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the view.

        Raises:
            OutputLostError: In place of the Ctrl-C that the loss has caused.
        """
        lost = self._lost
        with suppress(OSError):
            self._view.stop()
        if lost is not None and isinstance(error, KeyboardInterrupt):
            raise output_lost(lost) from lost

    def __call__(self, event: Event) -> None:
        """Show one event, while that is possible."""
        if self._lost is None:
            self._try(lambda: self._view(event))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if error.errno not in LOST:
                raise
            self._lost = error
            self._interrupt()


def let_go(stream: TextIO) -> None:
    """Drop what a stream could not write: Python would try once more at its end, and complain."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
