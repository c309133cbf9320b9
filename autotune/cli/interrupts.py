"""Ctrl-C, `kill` and a closed terminal, from the first moment of the process to its last.

    modules are loaded    the process ends at once, quietly, with 130
    a command runs        KeyboardInterrupt; where a clock runs (autotune.clock), cancellation
    all has ended         at once again

An import that is broken off by an exception may lose it ("Exception ignored in ...") or make
another of it, so while modules are loaded none is raised: nothing is there yet to clean up. This
module imports next to nothing, for it must stand before all others.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from autotune.errors import EXIT_INTERRUPTED

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_at_once() -> None:
    """From now on Ctrl-C and its like end the process, whatever it does."""
    for number in _heeded():
        signal.signal(number, _leave)


def end_cleanly() -> None:
    """From now on they are a Ctrl-C that is cleaned up after.

    Python would die at once of all but Ctrl-C, and leave a container with the GPU.
    """
    for number in _heeded():
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        else:
            signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


@contextmanager
def nothing_to_clean_up() -> Iterator[None]:
    """While it holds, as after `leave_at_once`; then as before.

    In a thread, where Python knows no signals, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    leave_at_once()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """What the caller ignores (nohup) stays ignored.

    Not so Ctrl-C: a script's `autotune ... &` is started deaf to it, and `kill -INT` is how such
    a study is stopped.
    """
    return [n for n in ENDING
            if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]  # fmt: skip


def _leave(_number: int, _frame: Any) -> None:
    os._exit(EXIT_INTERRUPTED)
