"""Whether autotune itself stood still while a server was measured, and for how long.

A suspended laptop, a SIGSTOP (Ctrl-Z), a paused virtual machine: when time goes on, every wait is
over at once, and latencies hold the pause. Neither is the server's doing.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from autotune.clock import Clock
from autotune.records import Failure, FailureKind
from autotune.seams.telemetry import Sample
from autotune.trial.attempt import Attempt
from autotune.units import NS_PER_S

MAX_GAP_S: Final = 10.0
"""Two samples may lie so much further apart than asked for: a busy machine's scheduler and a
driver that answers late take far less, and the load generator watches shorter pauses itself."""
MAX_SUSPENDED_S: Final = 1.0

CAUSED_BY_TIME: Final = frozenset({
    FailureKind.HUNG, FailureKind.START_TIMEOUT, FailureKind.REQUESTS_FAILED,
    FailureKind.LIMIT_MISSED, FailureKind.CLIENT_BOUND,
})  # fmt: skip
"""What a pause looks like. Other failures have a cause of their own and keep their names."""


class PauseWatch:
    """Looks for pauses from when it is made.

    Args:
        clock: The trial's.
        interval_s: Between two samples of the trial's timeline as asked for.
    """

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._suspended_before_ns = clock.suspended_ns()

    def overrule(self, attempt: Attempt, timeline: Sequence[Sample]) -> None:
        """Take back what a pause has made of a trial."""
        suspended_ns = self._clock.suspended_ns() - self._suspended_before_ns
        pause = standstill(timeline, self._interval_s, suspended_ns)
        attempt.failure = overruled(attempt.failure, pause, attempt.phase_name)


def standstill(timeline: Sequence[Sample], interval_s: float, suspended_ns: int) -> str | None:
    """One line about the pause; None if there was none that matters.

    Args:
        timeline: Samples of the whole trial.
        interval_s: Time between two of them as asked for.
        suspended_ns: How long the machine was suspended meanwhile.
    """
    if suspended_ns > MAX_SUSPENDED_S * NS_PER_S:
        return f"the machine was suspended for {suspended_ns / NS_PER_S:.0f} s"
    gaps = (later.at_ns - earlier.at_ns for earlier, later in pairwise(timeline))
    longest_s = max(gaps, default=0) / NS_PER_S - interval_s
    if longest_s > MAX_GAP_S:
        return f"autotune stood still for {longest_s:.0f} s (stopped, or without a turn on the CPU)"
    return None


def overruled(failure: Failure | None, pause: str | None, phase: str) -> Failure | None:
    """The failure of a trial in which autotune paused: nobody's fault, and to be run again."""
    if pause is None or (failure is not None and failure.kind not in CAUSED_BY_TIME):
        return failure
    seen = () if failure is None else (f"{failure.kind}: {failure.message}",)
    return Failure(
        kind=FailureKind.CLIENT_BOUND,
        phase=phase if failure is None else failure.phase,
        message=f"{pause}: nothing that was measured counts",
        evidence=seen,
    )
