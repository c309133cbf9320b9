"""What becomes of a run whose output nobody takes any more.

    autotune study ... | head          the reader has gone
    autotune study ... > on-a-full-disk

A view that raised in the middle of a trial would be that trial's failure, or keep its server from
being stopped. So the loss is kept, nothing further is written, and the run ends as after Ctrl-C:
the trial is recorded, the server gone, and the same command goes on.

    Ctrl-S, a pager that waits, a connection that hangs    nobody reads, and nothing breaks

There a write never comes back. So views of real time have a thread of their own: a trial is
watched, limited and stopped whether or not anybody looks.
"""

import errno
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from autotune.errors import OutputLostError
from autotune.seams.events import Event, TelemetrySeen

LOST: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF})
"""A reader that went, a full disk, a terminal that is closed (EIO)."""

_MOST_WAITING: Final = 1000
"""Events that nobody has been shown; then looks at the machine are left out, which come twice a
second. Of trials all are shown."""
_PATIENCE_S: Final = 5.0
"""For an output that does not move, where a run is broken off."""


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


def _ctrl_c() -> None:
    """To the thread that waits for it; its wait is what the signal ends (pthread_kill(3))."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Lasting:
    """A view that never raises into what it watches.

    Args:
        view: The one that writes.
        interrupt: Ends the run; by default what Ctrl-C does.
        beside: Whether it writes in a thread of its own, so that nobody waits for its output.
    """

    def __init__(
        self, view: Watcher, interrupt: Callable[[], None] = _ctrl_c, *, beside: bool = False
    ) -> None:
        self._view = view
        self._interrupt = interrupt
        self._lost: OSError | None = None
        self._failed: Exception | None = None
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if beside:
            self._thread = threading.Thread(target=self._follow, name="view", daemon=True)

    def __enter__(self) -> Self:
        self._try(self._view.start)
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the view, unless its output does not move and the run is broken off.

        Raises:
            OutputLostError: In place of the Ctrl-C that the loss has caused.
            Exception: What a view beside has raised at its last events.
        """
        if self._is_through(in_a_hurry=error is not None):
            with suppress(OSError):
                self._view.stop()
        lost = self._lost
        if lost is not None and isinstance(error, KeyboardInterrupt):
            raise output_lost(lost) from lost
        if self._failed is not None and error is None:
            raise self._failed

    def __call__(self, event: Event) -> None:
        """Show one event, while that is possible."""
        if self._failed is not None:
            raise self._failed
        if self._lost is not None:
            return
        if self._thread is None:
            self._try(lambda: self._view(event))
        elif not (isinstance(event, TelemetrySeen) and self._events.qsize() > _MOST_WAITING):
            self._events.put(event)

    def _follow(self) -> None:
        """Show events as they come, to the last."""
        while (event := self._events.get()) is not None:
            if self._lost is None:
                try:
                    self._try(lambda event=event: self._view(event))  # type: ignore[misc]
                except Exception as error:  # noqa: BLE001 - raised where the next event comes from
                    self._failed = error
                    return

    def _is_through(self, *, in_a_hurry: bool) -> bool:
        """Whether all is written: waited for at a run's own end, where nothing runs any more."""
        if self._thread is None:
            return True
        self._events.put(None)
        self._thread.join(_PATIENCE_S if in_a_hurry else None)
        return not self._thread.is_alive()

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
