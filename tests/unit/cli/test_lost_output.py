"""An output that nobody takes any more ends the run as Ctrl-C does, and never a trial."""

import errno
import io
from collections.abc import Callable

import pytest

from autotune.cli.json_lines import JsonLines
from autotune.cli.lost_output import Lasting
from autotune.errors import OutputLostError
from autotune.seams.events import Notice, PhaseStarted

STOPPING = PhaseStarted(number=3, phase="stopping", at_ns=0)


class Broken(io.StringIO):
    """A stream that takes so many lines, then none."""

    def __init__(self, lines: int, error: OSError) -> None:
        super().__init__()
        self._left, self._error = lines, error

    def write(self, text: str) -> int:
        if self._left == 0:
            raise self._error
        self._left -= 1
        return super().write(text)


def watched(stream: Broken, interrupt: Callable[[], None]) -> Lasting:
    """A JSON view of such a stream."""
    return Lasting(JsonLines(stream), interrupt=interrupt)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_what_watches_never_raises_into_what_is_watched(number: int) -> None:
    """The server of a trial is stopped behind this very event; the run is interrupted once."""
    stream = Broken(1, OSError(number, "gone"))
    interrupts: list[int] = []
    view = watched(stream, lambda: interrupts.append(1))

    view(Notice(text="a"))
    for _ in range(3):
        view(STOPPING)

    assert interrupts == [1]
    assert stream.getvalue().count("\n") == 1


def test_the_interrupt_that_it_caused_becomes_an_error_with_its_reason() -> None:
    """Not the user pressed Ctrl-C: the message says what broke and what to do."""
    view = watched(Broken(0, OSError(errno.ENOSPC, "No space left on device")), lambda: None)

    def run() -> None:
        view(STOPPING)
        raise KeyboardInterrupt

    with pytest.raises(OutputLostError, match="No space left") as caught, view:
        run()
    assert "same command" in caught.value.hint


def test_a_ctrl_c_of_the_users_own_stays_one() -> None:
    """Also where the output is whole."""
    with pytest.raises(KeyboardInterrupt), watched(Broken(9, OSError()), lambda: None):
        raise KeyboardInterrupt


def test_another_error_of_a_view_is_not_hidden() -> None:
    """Only what says that the output is gone."""
    view = watched(Broken(0, OSError(errno.EINVAL, "odd")), lambda: None)
    with pytest.raises(OSError, match="odd"):
        view(STOPPING)
