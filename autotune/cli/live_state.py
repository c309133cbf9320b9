"""What the live view knows; changed by events only."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.analysis.front import front_numbers
from autotune.analysis.measurements import PROVING, UTILIZATION, differences
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.seams.events import Notice, PhaseStarted, TrialEnded, TrialStarted
from autotune.spec.study import Objective
from autotune.study.agenda import counts
from autotune.study.budget import duration_ns
from autotune.units import s_from_ns

MOST_OUTCOMES: Final = 12
MOST_NOTICES: Final = 6


@dataclass(kw_only=True)
class LiveState:
    """Times are the study's: with a virtual clock (`virtual`) nobody waits for them.

    Only the objectives of past trials are kept, not their records: a long study stays small.

    Attributes:
        figures: Trial number to its objectives.
        alike: Configuration to the trials that its shown figures are means of.
        default: The configuration of the first trial of the baseline.
        reference: The baseline's configuration, or the default as lowered to fit; others are
            told by what differs from it.
        measured_s: Durations of the trials that were measured, summed, and how many.
    """

    study: str
    objectives: tuple[Objective, ...]
    simulated: bool
    virtual: bool = False
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NOTICES))
    news: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NOTICES))
    recent: deque[TrialRecord] = field(default_factory=lambda: deque(maxlen=MOST_OUTCOMES))
    trial: TrialStarted | None = None
    phase: PhaseStarted | None = None
    telemetry: Mapping[str, float | None] = field(default_factory=dict)
    front: tuple[int, ...] = ()
    figures: dict[int, tuple[float | None, ...]] = field(default_factory=dict)
    alike: dict[Configuration, list[int]] = field(default_factory=dict)
    default: Configuration | None = None
    baseline: int | None = None
    reference: Configuration | None = None
    counts: dict[OutcomeStatus, int] = field(default_factory=dict)
    measured_s: tuple[float, int] = (0.0, 0)
    done: int = 0
    total: int | None = None
    remaining_s: float | None = None
    started_ns: int | None = None
    trial_started_ns: int = 0
    _proved: set[Configuration] = field(default_factory=set)

    @property
    def typical_s(self) -> float | None:
        """How long a trial takes that is measured whole; None before the first."""
        total_s, number = self.measured_s
        return total_s / number if number else None

    def recall(self, records: Sequence[TrialRecord]) -> None:
        """Take up the trials of earlier runs."""
        for record in records:
            self._note(record)
        self.front = front_numbers(records, self.objectives)

    def notice(self, event: Notice) -> None:
        """Keep the last ones; news make room for news, not for a warning."""
        (self.warnings if event.level == "warning" else self.news).append(event.text)

    def begin(self, event: TrialStarted, now_ns: int) -> None:
        """A trial starts."""
        self.trial, self.phase, self.telemetry = event, None, {}
        self.done, self.total = event.trials_done, event.trials_total
        self.trial_started_ns = now_ns
        self.started_ns = now_ns if self.started_ns is None else self.started_ns

    def enter(self, event: PhaseStarted) -> None:
        """The trial enters a phase."""
        self.phase = event

    def end(self, event: TrialEnded, now_ns: int) -> None:
        """A trial is on disk."""
        self.started_ns = now_ns if self.started_ns is None else self.started_ns
        self.front, self.remaining_s = event.front, event.remaining_s
        self.trial = self.phase = None
        self._note(event.record)

    def _note(self, record: TrialRecord) -> None:
        self.recent.append(record)
        self.simulated = self.simulated or record.simulated
        status = record.outcome.status
        self.counts[status] = self.counts.get(status, 0) + 1
        self.done += counts(record)
        if record.kind is TrialKind.BASELINE and self.default is None:
            self.default = record.configuration
        if not record.is_measured:
            return
        total_s, number = self.measured_s
        self.measured_s = total_s + s_from_ns(duration_ns(record)), number + 1
        self.figures[record.number] = tuple(record.metrics.get(o.metric) for o in self.objectives)
        if record.is_feasible:
            self._group(record)
        if record.kind is TrialKind.BASELINE or self._is_lowered(record):
            self.baseline, self.reference = record.number, record.configuration

    def _is_lowered(self, record: TrialRecord) -> bool:
        """Whether it is the default with a smaller share of the card: then the reference."""
        if record.kind is not TrialKind.REPAIR or self.default is None or not record.is_feasible:
            return False
        return differences(record.configuration, self.default) == (UTILIZATION,)

    def _group(self, record: TrialRecord) -> None:
        """Proofs alone tell a configuration's figures where it has some."""
        group = self.alike.setdefault(record.configuration, [])
        proving = record.kind in PROVING
        if proving and record.configuration not in self._proved:
            group.clear()
            self._proved.add(record.configuration)
        if proving or record.configuration not in self._proved:
            group.append(record.number)
