"""An output that nobody takes any more ends the run as Ctrl-C does, and never a trial."""

import errno
import io
import json
import threading
from collections.abc import Callable

import pytest

from autotune.cli.json_lines import JsonLines
from autotune.cli.lost_output import Lasting
from autotune.errors import OutputLostError
from autotune.seams.events import Notice, PhaseStarted, TelemetrySeen

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


class Stuck(io.StringIO):
    """A terminal after Ctrl-S: a write comes back when somebody reads on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def write(self, text: str) -> int:
        self.goes_on.wait()
        return super().write(text)


def test_nobody_waits_for_an_output_that_does_not_move() -> None:
    """Events are taken meanwhile, and shown in their order once somebody reads on."""
    stream = Stuck()
    with Lasting(JsonLines(stream), lambda: None, beside=True) as view:
        for number in range(50):
            view(PhaseStarted(number=number, phase="stopping", at_ns=0))
        assert stream.getvalue() == ""
        stream.goes_on.set()
    shown = [json.loads(line)["number"] for line in stream.getvalue().splitlines()]
    assert shown == list(range(50))


def test_a_run_that_is_broken_off_does_not_wait_for_it_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C comes through, and the view is left as it is."""
    monkeypatch.setattr("autotune.cli.lost_output._PATIENCE_S", 0.0)
    stream = Stuck()

    def run(view: Lasting) -> None:
        view(STOPPING)
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Lasting(JsonLines(stream), lambda: None, beside=True) as view,
    ):
        run(view)
    assert stream.getvalue() == ""
    stream.goes_on.set()


def test_looks_at_the_machine_are_left_out_where_too_many_wait() -> None:
    """A weekend behind Ctrl-S does not fill the memory; what became of trials is all there."""
    stream = Stuck()
    with Lasting(JsonLines(stream, telemetry=True), lambda: None, beside=True) as view:
        for number in range(2000):
            view(TelemetrySeen(number=number, values={}))
        view(STOPPING)
        stream.goes_on.set()
    lines = stream.getvalue().splitlines()
    assert 1000 <= len(lines) <= 1003
    assert json.loads(lines[-1])["event"] == "phase_started"


def test_what_a_view_beside_raises_comes_out_at_the_next_event() -> None:
    """Or at the end: it is not hidden by its thread."""
    stream = Broken(0, OSError(errno.EINVAL, "odd"))
    with (
        pytest.raises(OSError, match="odd"),
        Lasting(JsonLines(stream), lambda: None, beside=True) as view,
    ):
        view(STOPPING)
