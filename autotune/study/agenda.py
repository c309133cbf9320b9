"""What must be run before the search goes on, read off the records; pure, so any run can resume.

Order: the baseline (again where the study has come to another machine, and between trials),
retries, repairs, trials that Ctrl-C cut off, seeds. When nothing is left here the sampler is asked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from autotune.analysis.comparable import machines_of, measured_calmly
from autotune.analysis.measurements import PROVING, baseline_of
from autotune.records import (
    Configuration,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.parameters import Given, Parameter
from autotune.study.lowered import lowered_default

BESIDE: Final = frozenset({TrialKind.RETRY, TrialKind.VERIFY})
"""Kinds that do not count against the budget of trials."""
KILLED: Final = "autotune itself was killed while this trial ran"
"""The message of a trial that no record was written of."""
_ALWAYS_DISTURBED: Final = 3
"""Repeated trials that were disturbed again: then this machine is so, and nothing is gained."""
_NOT_REPAIRED: Final = frozenset({TrialKind.REPAIR, TrialKind.ABLATION})
"""A repair is not repaired again, and that a setting cannot be taken away is what was asked."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A trial that is due."""

    configuration: Configuration
    kind: TrialKind
    label: str = ""
    left_out: tuple[tuple[str, str], ...] = field(default=())

    def completed(self, given: Given | None) -> "Planned":
        """With what a configuration gets that does not say otherwise."""
        if given is None:
            return self
        return replace(self, configuration=given.completed(self.configuration))


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
    baseline_repeats: int = 1,
    baseline_every: int = 0,
    share: Parameter | None = None,
) -> Planned | None:
    """The next trial that is due; None when the search may go on.

    Args:
        records: Every trial so far.
        baseline: What is measured first.
        seeds: What is measured before the search.
        retries: How often a failed or disturbed trial is run again.
        baseline_repeats: Trials of the baseline on each machine, before anything else.
        baseline_every: Trials between two of the baseline; 0 for none between.
        share: The space's `gpu_memory_utilization`, in whose steps a default over a memory bound
            is lowered.
    """
    finished = [r for r in records if not r.is_interrupted]
    if not any(r.kind is TrialKind.BASELINE for r in finished):
        return baseline
    seen = {r.configuration for r in finished}
    return (
        _baseline_again(finished, baseline, repeats=baseline_repeats, every=baseline_every)
        or _retry(finished, retries)
        or _never_seen(finished, baseline)
        or _disturbed(finished, retries)
        or _lowered(finished, baseline, share)
        or _repair(finished, seen)
        or _cut_off(records, seen)
        or next((s for s in seeds if s.configuration not in seen), None)
    )


def _never_seen(finished: Sequence[TrialRecord], baseline: Planned) -> Planned | None:
    """The baseline, while autotune was killed in each trial of it: without it nothing compares.

    Anything else is not tried for ever, since it may be what kills.
    """
    tried = [r.outcome.failure for r in finished if r.configuration == baseline.configuration]
    is_due = bool(tried) and all(f is not None and f.message == KILLED for f in tried)
    return baseline if is_due else None


def _baseline_again(
    finished: Sequence[TrialRecord], baseline: Planned, *, repeats: int, every: int
) -> Planned | None:
    """The baseline once more: it tells noise, and whether the machine is another or drifts.

    What is repeated is what others are compared with: the default, or the default as repaired.
    Whether the study has come to another machine is told by the last trial, the first one there.
    """
    compared = baseline_of(finished)
    if compared is None or not compared.is_feasible:
        return None
    wanted = compared.configuration
    again = baseline
    if wanted != baseline.configuration:
        again = Planned(configuration=wanted, kind=TrialKind.REPAIR, label=baseline.label)
    here = next(m for m in machines_of(finished) if m[-1] is finished[-1])
    tried = [r for r in here if r.configuration == wanted]
    if tried and not tried[-1].is_measured:
        return None  # a retry's business, or not to be had here
    if sum(r.is_measured for r in tried) < repeats:
        return again
    last = max(i for i, r in enumerate(finished) if r.configuration == wanted)
    since = sum(counts(r) for r in finished[last + 1 :])
    return again if every and since >= every else None


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


def _disturbed(finished: Sequence[TrialRecord], retries: int) -> Planned | None:
    """What something besides the engine slowed down is run again, unless it always is so here.

    A finalist or an ablation comes again as such (`analysis.finalists`).
    """
    again = [r for r in finished if r.kind is TrialKind.RETRY]
    if sum(r.is_disturbed for r in again) >= _ALWAYS_DISTURBED:
        return None
    calm = measured_calmly(finished)
    for record in finished:
        is_due = record.is_measured and record.is_disturbed and record.kind not in PROVING
        if not is_due or record.configuration in calm:
            continue
        if sum(r.configuration == record.configuration for r in again) < retries:
            return Planned(
                configuration=record.configuration, kind=TrialKind.RETRY, label=record.label
            )
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
