"""Whether a configuration keeps the study's limits, by all its trials."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean

from autotune.records import FailureKind, LimitCheck, TrialRecord

Slack = Callable[[str, int], float]
"""Metric and number of trials to what a mean may be beyond a bound, as a logarithm."""


def missed_a_limit(record: TrialRecord) -> bool:
    """Whether it was measured, and a figure was beyond a limit of the study."""
    failure = record.outcome.failure
    return failure is not None and failure.kind is FailureKind.LIMIT_MISSED


def keeps_limits(
    records: Sequence[TrialRecord], *, slack: Slack = lambda _metric, _trials: 0.0
) -> bool:
    """Whether trials of one configuration keep every limit by their mean.

    Args:
        records: Those that were measured; none keep nothing.
        slack: What still passes.
    """
    checks: dict[tuple[str, float], list[LimitCheck]] = {}
    for record in records:
        for check in record.limits:
            checks.setdefault((check.metric, check.bound), []).append(check)
    if all(r.is_feasible for r in records):
        return bool(records)
    return bool(checks) and all(_is_kept(group, slack) for group in checks.values())


def mean_of(values: Sequence[float]) -> float:
    """Geometric, as gains are ratios; arithmetic for a count that may be zero."""
    if len(set(values)) == 1:
        return values[0]  # exactly, for it may be compared with an equal one
    return geometric_mean(values) if min(values) > 0 else fmean(values)


def _is_kept(checks: Sequence[LimitCheck], slack: Slack) -> bool:
    missed = next((check for check in checks if not check.kept), None)
    values = [check.value for check in checks if check.value is not None]
    if missed is None:
        return True
    if missed.value is None:
        return False
    passing = math.exp(slack(missed.metric, len(values)))
    if missed.value > missed.bound:
        return mean_of(values) <= missed.bound * passing
    return mean_of(values) >= missed.bound / passing
