"""Says so when the baseline has moved while a study ran.

With `search.baseline_every` the baseline comes again and again. If it is clearly faster or slower
than it was, trials of then and now must not be compared: the user is told, and the finalists'
proofs, which are interleaved with the baseline, are what is left to trust.
"""

from collections.abc import Sequence

from autotune.analysis.drift import Drift, drifts
from autotune.metrics import METRICS
from autotune.records import TrialKind, TrialRecord
from autotune.seams.events import Event, Notice, Observer, TrialEnded
from autotune.spec.study import Objective


class DriftWatch:
    """An observer in front of another.

    Args:
        inner: Told of everything, and of drifts.
        objectives: Metrics that are watched.
        records: Trials of earlier runs of the study.
    """

    def __init__(
        self, inner: Observer, objectives: Sequence[Objective], records: Sequence[TrialRecord] = ()
    ) -> None:
        self._inner, self._objectives = inner, objectives
        self._records = list(records)

    def __call__(self, event: Event) -> None:
        """Pass it on; look at the baseline each time it was measured."""
        self._inner(event)
        if not isinstance(event, TrialEnded):
            return
        self._records.append(event.record)
        if event.record.kind is TrialKind.BASELINE:
            for drift in drifts(self._records, self._objectives):
                if drift.is_clear:
                    self._inner(Notice(text=said_of(drift), level="warning"))


def said_of(drift: Drift) -> str:
    """One line for people."""
    title = METRICS[drift.metric].title
    return (
        f"the machine has changed while the study ran: {title} of the baseline is now "
        f"{drift.ratio:.2f} times what it was ({drift.low:.2f} to {drift.high:.2f}, "
        f"{drift.trials} trials); compare early and late trials with care"
    )
