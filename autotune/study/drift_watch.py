"""Says so when the machine is another, when it has changed, and when something disturbed a trial.

The baseline comes again and again (`search.baseline_every`), and on each machine that a study is
run on. Figures are corrected by its ratio (`analysis.comparable`), and the user is told at once.
"""

from collections.abc import Sequence

from autotune.analysis.comparable import corrections, machines_of
from autotune.analysis.drift import Drift, drifts
from autotune.analysis.first_starts import as_later_starts
from autotune.analysis.measurements import baseline_of
from autotune.metrics import METRICS
from autotune.records import TrialRecord
from autotune.seams.events import Event, Notice, Observer, TrialEnded
from autotune.spec.study import Objective
from autotune.store.kept import kept


class DriftWatch:
    """An observer in front of another.

    Args:
        inner: Told of everything, and of what it should not miss.
        objectives: Metrics that are watched.
        records: Trials of earlier runs of the study.
    """

    def __init__(
        self, inner: Observer, objectives: Sequence[Objective], records: Sequence[TrialRecord] = ()
    ) -> None:
        self._inner, self._objectives = inner, objectives
        self._records = [kept(record) for record in records]
        self._said = {str(c) for c in corrections(self._records, objectives)}

    def __call__(self, event: Event) -> None:
        """Pass it on; look at the machine after each trial."""
        self._inner(event)
        if not isinstance(event, TrialEnded):
            return
        machines = len(machines_of(self._records))
        self._records.append(kept(event.record))
        if 0 < machines < len(machines_of(self._records)):
            self._say(
                "this is another machine than that of earlier trials: the baseline is measured "
                "again, and figures are compared by its ratio"
            )
        if event.record.is_disturbed:
            self._say(f"trial {event.record.number} was disturbed: {_cause(event.record)}")
        baseline = baseline_of(self._records)  # the default, or what is left of it when lowered
        if baseline is not None and event.record.configuration == baseline.configuration:
            self._look_at_the_baseline(event.record)

    def _look_at_the_baseline(self, record: TrialRecord) -> None:
        """It tells what changed, on this machine and between machines.

        Where a drift is so clear that figures are corrected for it, nobody need take care.
        """
        made = corrections(self._records, self._objectives)
        here = next(m for m in machines_of(self._records) if record.number in {r.number for r in m})
        for drift in drifts(as_later_starts(here), self._objectives):
            if drift.is_clear and not any(correction.is_drift for correction in made):
                self._say(said_of(drift))
        for correction in made:
            if str(correction) not in self._said:
                self._said.add(str(correction))
                self._say(str(correction))

    def _say(self, text: str) -> None:
        self._inner(Notice(text=text, level="warning"))


def said_of(drift: Drift) -> str:
    """One line for people."""
    title = METRICS[drift.metric].title
    return (
        f"the machine has changed while the study ran: {title} of the baseline is now "
        f"{drift.ratio:.2f} times what it was ({drift.low:.2f} to {drift.high:.2f}, "
        f"{drift.trials} trials); compare early and late trials with care"
    )


def _cause(record: TrialRecord) -> str:
    return next(probe.disturbed for probe in record.probes if probe.disturbed)
