"""Whether the machine changed while the study ran: the baseline early against the baseline late."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.measurements import baseline_of, logs_of
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.records import TrialRecord
from autotune.spec.study import Objective


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the baseline moved.

    Attributes:
        ratio: Geometric mean of its later trials over that of its earlier ones.
        low: Lower end of the 95% interval.
        high: Upper end.
        trials: How many trials of the baseline it rests on.
    """

    metric: str
    ratio: float
    low: float
    high: float
    trials: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes "no change"."""
        return not self.low <= 1 <= self.high


def drifts(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> tuple[Drift, ...]:
    """Drift of each objective; empty where the baseline was measured fewer than twice.

    The noise it is held against comes from the other configurations' repeats, for the baseline's
    own spread is what is in question.
    """
    baseline = baseline_of(records)
    if baseline is None:
        return ()
    same = [r for r in records if r.configuration == baseline.configuration and r.is_feasible]
    others = [r for r in records if r.configuration != baseline.configuration]
    found = (_drift(same, others, objective.metric) for objective in objectives)
    return tuple(drift for drift in found if drift is not None)


def _drift(same: Sequence[TrialRecord], others: Sequence[TrialRecord], metric: str) -> Drift | None:
    logs = logs_of(sorted(same, key=lambda r: r.number), metric)
    if len(logs) < 2:
        return None
    early, late = logs[: len(logs) // 2], logs[len(logs) // 2 :]
    change = math.fsum(late) / len(late) - math.fsum(early) / len(early)
    spread = noise_of(others, metric).relative_sd * math.sqrt(1 / len(early) + 1 / len(late))
    return Drift(
        metric=metric,
        ratio=math.exp(change),
        low=math.exp(change - SIGNIFICANT * spread),
        high=math.exp(change + SIGNIFICANT * spread),
        trials=len(logs),
    )
