"""What must be run before the search goes on, read off the records; pure, so any run can resume.

Order: the baseline, retries, repairs, trials that Ctrl-C cut off, seeds. When nothing is left
here the sampler is asked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.analysis.measurements import PROVING
from autotune.records import (
    Configuration,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.parameters import Parameter
from autotune.study.lowered import lowered_default

BESIDE: Final = frozenset({TrialKind.RETRY, TrialKind.VERIFY})
"""Kinds that do not count against the budget of trials."""
_NOT_REPAIRED: Final = frozenset({TrialKind.REPAIR, TrialKind.ABLATION})
"""A repair is not repaired again, and that a setting cannot be taken away is what was asked."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A trial that is due."""

    configuration: Configuration
    kind: TrialKind
    label: str = ""
    left_out: tuple[tuple[str, str], ...] = field(default=())


def is_stopped(record: TrialRecord) -> bool:
    """Whether Ctrl-C came while this trial ran, be it after the trial's outcome was known."""
    task = asyncio.current_task()
    return record.is_interrupted or (task is not None and task.cancelling() > 0)


def counts(record: TrialRecord) -> bool:
    """Whether a trial counts against the study's budget of trials.

    Screened ones cost nothing, interrupted ones are run again, and a retry stands beside a trial
    that has been counted.
    """
    return not (
        record.outcome.status is OutcomeStatus.SCREENED
        or record.is_interrupted
        or record.kind in BESIDE
    )


def next_planned(
    records: Sequence[TrialRecord],
    *,
    baseline: Planned,
    seeds: Sequence[Planned],
    retries: int,
    baseline_every: int = 0,
    share: Parameter | None = None,
) -> Planned | None:
    """The next trial that is due; None when the search may go on.

    Args:
        records: Every trial so far.
        baseline: What is measured first.
        seeds: What is measured before the search.
        retries: How often a failed trial is run again.
        baseline_every: Trials between two of the baseline; 0 for one only.
        share: The space's `gpu_memory_utilization`, in whose steps a default over a memory bound
            is lowered.
    """
    finished = [r for r in records if not r.is_interrupted]
    if not any(r.kind is TrialKind.BASELINE for r in finished):
        return baseline
    seen = {r.configuration for r in finished}
    return (
        _baseline_again(finished, baseline, baseline_every)
        or _retry(finished, retries)
        or _lowered(finished, baseline, share)
        or _repair(finished, seen)
        or _cut_off(records, seen)
        or next((s for s in seeds if s.configuration not in seen), None)
    )


def _baseline_again(
    finished: Sequence[TrialRecord], baseline: Planned, every: int
) -> Planned | None:
    """The baseline after so many trials: it tells noise, and whether the machine drifts."""
    last = max(i for i, r in enumerate(finished) if r.kind is TrialKind.BASELINE)
    since = sum(counts(r) for r in finished[last + 1 :])
    was_feasible = finished[last].is_feasible
    return baseline if every and since >= every and was_feasible else None


def _retry(finished: Sequence[TrialRecord], retries: int) -> Planned | None:
    """A failed trial is run again so many times, unless a later one already told more."""
    latest = {r.configuration: r for r in finished}
    for configuration, record in latest.items():
        if record.outcome.status is not OutcomeStatus.FAILED:
            continue
        if record.kind in PROVING:  # its proof is due again as such
            continue
        done = sum(r.kind is TrialKind.RETRY and r.configuration == configuration for r in finished)
        if done < retries:
            return Planned(configuration=configuration, kind=TrialKind.RETRY, label=record.label)
    return None


def _lowered(
    finished: Sequence[TrialRecord], baseline: Planned, share: Parameter | None
) -> Planned | None:
    """The default with a smaller share of the card, while it is over a memory bound by little."""
    tried = [
        r for r in finished if r.kind in {TrialKind.BASELINE, TrialKind.RETRY, TrialKind.REPAIR}
    ]
    mended = lowered_default(tried, baseline.configuration, share)
    if mended is None or any(r.configuration == mended for r in finished):
        return None
    return Planned(configuration=mended, kind=TrialKind.REPAIR, label=baseline.label)


def _repair(finished: Sequence[TrialRecord], seen: set[Configuration]) -> Planned | None:
    """What the engine's own text says would fit; a repair is not repaired again.

    A proposal of the search that was screened is not repaired: it cost nothing, and its repair
    would cost a trial that the sampler did not ask for.
    """
    for record in finished:
        failure = record.outcome.failure
        if failure is None or not failure.repair or record.kind in _NOT_REPAIRED:
            continue
        if record.outcome.status is OutcomeStatus.SCREENED and record.kind is TrialKind.SEARCH:
            continue
        mended = record.configuration.updated(failure.repair)
        if mended not in seen:
            return Planned(configuration=mended, kind=TrialKind.REPAIR, label=record.label)
    return None


def _cut_off(records: Sequence[TrialRecord], seen: set[Configuration]) -> Planned | None:
    for record in records:
        if record.is_interrupted and record.configuration not in seen:
            return Planned(configuration=record.configuration, kind=record.kind, label=record.label)
    return None
