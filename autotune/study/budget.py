"""When a study ends, and how long it still takes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.clock import Clock
from autotune.records import OutcomeStatus, TrialRecord
from autotune.spec.study import Budget
from autotune.study.agenda import counts
from autotune.units import NS_PER_S, ns_from_s

_ENOUGH = 3
"""Trials whose durations must be known before one is refused for want of time."""


def duration_ns(record: TrialRecord) -> int:
    """From the first phase's start to the last one's end; 0 if nothing was run."""
    if not record.phases:
        return 0
    return max(p.end_ns for p in record.phases) - min(p.start_ns for p in record.phases)


@dataclass(frozen=True, kw_only=True)
class BudgetWatch:
    """A study's budget on its clock, counted from when this run of it began."""

    budget: Budget
    clock: Clock
    started_ns: int

    @classmethod
    def begin(cls, budget: Budget, clock: Clock) -> "BudgetWatch":
        """From now on."""
        return cls(budget=budget, clock=clock, started_ns=clock.now_ns())

    def spent(self, records: Sequence[TrialRecord]) -> str | None:
        """Why no further trial may start; None if one may.

        The end time is honoured: a trial that by the median of those before would run past it is
        not started.
        """
        done = sum(counts(record) for record in records)
        if done >= self.budget.trials:
            return _done(done, len(records) - done)
        left_ns = self._time_left_ns()
        if left_ns is None or self.budget.timeout_s is None:
            return None
        virtual = " (virtual time, which a simulated study counts)" * self.clock.is_virtual
        if left_ns <= 0:
            return f"the time of {_time_text(self.budget.timeout_s)} is over{virtual}"
        typical = _typical_ns(records)
        if typical is not None and typical > left_ns:
            return (
                f"a trial takes about {typical / NS_PER_S:.0f} s "
                f"and {left_ns / NS_PER_S:.0f} s are left{virtual}"
            )
        return None

    def search_is_over(self, records: Sequence[TrialRecord], reserved: int) -> bool:
        """Whether what is left of the budget is needed for so many trials of another kind."""
        if reserved == 0:
            return False
        if sum(counts(record) for record in records) >= self.budget.trials - reserved:
            return True
        left_ns, typical = self._time_left_ns(), _typical_ns(records)
        if left_ns is None or typical is None:
            return False
        return left_ns < (reserved + 1) * typical

    def remaining_s(self, records: Sequence[TrialRecord]) -> float | None:
        """Seconds of this clock until the study ends; None before the first trial has run."""
        durations = [duration_ns(r) for r in records if duration_ns(r) > 0]
        if not durations:
            return None
        done = sum(counts(record) for record in records)
        by_trials = (self.budget.trials - done) * statistics.fmean(durations) / NS_PER_S
        left_ns = self._time_left_ns()
        if left_ns is None:
            return max(0.0, by_trials)
        return max(0.0, min(by_trials, left_ns / NS_PER_S))

    def left_s(self) -> float | None:
        """Seconds until the study's time is over, 0 from then on; None where it has no end."""
        left_ns = self._time_left_ns()
        return None if left_ns is None else max(0, left_ns) / NS_PER_S

    def _time_left_ns(self) -> int | None:
        if self.budget.timeout_s is None:
            return None
        return self.started_ns + ns_from_s(self.budget.timeout_s) - self.clock.now_ns()


def _done(done: int, aside: int) -> str:
    """That the trials are spent; those that did not count stand in the list too."""
    text = "1 trial is done" if done == 1 else f"{done} trials are done"
    return f"{text} and {aside} more did not count" if aside else text


def _time_text(seconds: float) -> str:
    """A budget of time in the largest unit that it is a whole number of."""
    for size_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds > size_s and seconds % size_s == 0:
            return f"{seconds / size_s:g} {unit}"
    return f"{seconds:g} s"


def _typical_ns(records: Sequence[TrialRecord]) -> float | None:
    durations = [
        duration_ns(r)
        for r in records
        if r.outcome.status is OutcomeStatus.MEASURED and duration_ns(r) > 0
    ]
    return statistics.median(durations) if len(durations) >= _ENOUGH else None


class SettledRule:
    """Ends a search whose best proposals promise too little, several times in a row.

    Args:
        below: Share of the front's hypervolume; None for never.
    """

    IN_A_ROW = 5

    def __init__(self, below: float | None) -> None:
        self._below = below
        self._count = 0

    def is_settled(self, expected_gain: float | None) -> bool:
        """Take in the expected gain of a proposal; None where the sampler gives none."""
        if self._below is None or expected_gain is None or expected_gain >= self._below:
            self._count = 0
        else:
            self._count += 1
        return self._count >= self.IN_A_ROW
