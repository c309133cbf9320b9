"""The live view of a study: what runs, what was found, when it will end.

It has the terminal's alternate screen for itself, so that neither a resized window nor a line of
somebody else leaves torn rows; the command prints its result after it. Drawn anew on events, at
most `_FRAMES_PER_S` times a second, without a thread of its own, so that it may watch a study in
virtual time. `live_state.py` keeps the state, `live_panels.py` draws it.
"""

import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live

from autotune.cli.live_panels import screen
from autotune.cli.live_state import LiveState
from autotune.clock import Clock, MonotonicClock
from autotune.records import TrialRecord
from autotune.seams.events import (
    Event,
    Notice,
    PhaseStarted,
    TelemetrySeen,
    TrialEnded,
    TrialStarted,
)
from autotune.spec.study import Objective
from autotune.units import NS_PER_S

_FRAMES_PER_S: Final = 4


class LiveView:
    """An observer that keeps one screen up to date.

    Args:
        console: Where to draw.
        clock: The study's: elapsed times are told on it.
        objectives: The first two span the plot.
        study: Its name, for the head line.
        simulated: Marks the screen from the start.
        known: Trials of earlier runs.
        screen_clock: Limits how often it is drawn; real even where the study's is virtual.
    """

    def __init__(
        self,
        console: Console,
        *,
        clock: Clock,
        objectives: Sequence[Objective],
        study: str = "",
        simulated: bool = False,
        known: Sequence[TrialRecord] = (),
        screen_clock: Clock | None = None,
    ) -> None:
        self._clock = clock
        self._screen_clock = screen_clock or MonotonicClock()
        self._drawn_ns: int | None = None
        self._console = console
        self._terminal = ExitStack()
        self.state = LiveState(
            study=study,
            objectives=tuple(objectives),
            simulated=simulated,
            virtual=clock.is_virtual,
        )
        self.state.recall(known)
        self._live = Live(self.render(), console=console, auto_refresh=False, screen=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Take over the terminal."""
        self._terminal.enter_context(control_keys_unseen())
        self._live.start()
        self._draw(force=True)

    def stop(self) -> None:
        """Give the terminal back as it was."""
        self._live.stop()
        self._terminal.close()

    def __call__(self, event: Event) -> None:
        """Note one event and, if it is time, draw."""
        self._note(event)
        self._draw(force=isinstance(event, TrialEnded) and not self._clock.is_virtual)

    def render(self) -> RenderableType:
        """The screen as it should look now."""
        return screen(
            self.state, now_ns=self._clock.now_ns(), width=self._console.width,
            height=self._console.height,
        )  # fmt: skip

    def _draw(self, *, force: bool) -> None:
        now_ns = self._screen_clock.now_ns()
        if not force and self._drawn_ns is not None \
                and now_ns - self._drawn_ns < NS_PER_S // _FRAMES_PER_S:  # fmt: skip
            return
        self._drawn_ns = now_ns
        self._live.update(self.render(), refresh=True)

    def _note(self, event: Event) -> None:
        state, now_ns = self.state, self._clock.now_ns()
        match event:
            case Notice():
                state.notice(event)
            case TrialStarted():
                state.begin(event, now_ns)
            case PhaseStarted():
                state.enter(event)
            case TelemetrySeen():
                state.telemetry = event.values
            case TrialEnded():
                state.end(event, now_ns)


@contextmanager
def control_keys_unseen() -> Iterator[None]:
    """Keep the terminal from writing ^C into the screen; where stdin is none, change nothing."""
    try:
        before = termios.tcgetattr(sys.stdin)
        changed = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError):
        yield
        return
    changed[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, changed)
    try:
        yield
    finally:
        with suppress(termios.error, OSError, ValueError):  # the terminal has gone
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
