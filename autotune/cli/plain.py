"""One line per event, for logs and pipes: no colours, no cursor movement."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TextIO

from autotune.clock import Clock
from autotune.records import TrialRecord
from autotune.report.quantities import display, duration_text, title
from autotune.report.table import SIMULATED
from autotune.report.tables import outcome_text
from autotune.report.untrusted import one_line, shorten
from autotune.seams.events import (
    Event,
    Notice,
    PhaseStarted,
    TelemetrySeen,
    TrialEnded,
    TrialStarted,
)
from autotune.spec.study import Objective
from autotune.study.agenda import BESIDE

_WIDTH: Final = 400
"""Longest line; a log is grepped, not read across."""


class PlainLines:
    """Writes a line for each trial, phase, outcome and notice, with the time in front.

    Args:
        stream: Where to write.
        clock: Gives the wall time in front of each line; None leaves it out.
        objectives: Their figures are told with each outcome.
        quiet: Only warnings.
        virtual: The study's time is virtual: nobody waits for what is left of it.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Clock | None = None,
        objectives: Sequence[Objective] = (),
        quiet: bool = False,
        virtual: bool = False,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._objectives = tuple(objectives)
        self._quiet = quiet
        self._virtual = virtual

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
        """Nothing to prepare."""

    def stop(self) -> None:
        """Write out what is buffered."""
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Write one event, if it is worth a line."""
        match event:
            case Notice(level="warning"):
                self._line(f"warning: {event.text}")
            case Notice():
                self._detail(event.text)
            case TrialStarted():
                self._detail(started_text(event))
            case PhaseStarted():
                detail = f" ({event.detail})" if event.detail else ""
                self._detail(f"trial {event.number}: {event.phase}{detail}")
            case TelemetrySeen():
                pass
            case TrialEnded():
                self._detail(self._ended(event))

    def _detail(self, text: str) -> None:
        if not self._quiet:
            self._line(text)

    def _ended(self, event: TrialEnded) -> str:
        parts = [f"trial {event.record.number}: {ended_text(event.record, self._objectives)}"]
        if event.record.number in event.front:
            parts.append("on the front")
        if event.remaining_s is not None and not self._virtual:
            parts.append(f"about {duration_text(event.remaining_s)} left")
        return "; ".join(parts)

    def _line(self, text: str) -> None:
        stamp = "" if self._clock is None else f"{self._clock.wall():%H:%M:%S} "
        self._stream.write(f"{stamp}{shorten(text, _WIDTH)}\n")
        self._stream.flush()


def started_text(event: TrialStarted) -> str:
    """Like `trial 7 (8 of 40, search) starts: kv_cache_dtype=fp8`.

    One that stands beside the budget gets no place in it: `trial 41 (retry) starts`.
    """
    total = "" if event.trials_total is None else f" of {event.trials_total}"
    name = event.label or event.kind.value
    where = name if event.kind in BESIDE else f"{event.trials_done + 1}{total}, {name}"
    return f"trial {event.number} ({where}) starts: {event.configuration}"


def ended_text(record: TrialRecord, objectives: Sequence[Objective]) -> str:
    """The outcome, its figures, and the failure's own line; marked if it is simulated."""
    parts = [outcome_text(record.outcome)]
    parts += [
        f"{title(o.metric)} {display(o.metric, value)}"
        for o in objectives
        if (value := record.metrics.get(o.metric)) is not None
    ]
    failure = record.outcome.failure
    if failure is not None:
        parts.append(one_line(failure.message))
        if failure.margin_gib is not None and failure.margin_gib < 0:
            parts.append(f"{-failure.margin_gib:.2f} GiB short")
    if record.simulated:
        parts.append(SIMULATED)
    return ", ".join(parts)
