"""Which configurations are worth proving: the best few, deployed afresh beside the baseline.

A search's winner was picked because its single measurement was high, so that measurement
flatters it. Finalists are measured again, interleaved with the baseline, and judged by these
trials alone.
"""

import math
from collections.abc import Sequence

from autotune.analysis.choice import score, weights_of
from autotune.analysis.measurements import Measured, baseline_of, grouped
from autotune.analysis.recommend import recommend
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import StudySpec


def finalists_of(records: Sequence[TrialRecord], spec: StudySpec) -> tuple[Configuration, ...]:
    """The baseline, where it is feasible, and the best configurations of the search.

    The one that would be recommended comes first, then by score; only trials of the search
    decide, so that the finalists stay the same while they are being proved. Empty if there is
    nothing to prove.
    """
    searched = [r for r in records if r.kind is not TrialKind.FINALIST]
    candidates = grouped(searched, spec.objectives)
    if not candidates:
        return ()
    baseline = baseline_of(searched)
    default = baseline.configuration if baseline is not None and baseline.is_feasible else None
    weights = weights_of(spec.objectives, spec.prefer)

    def rating(candidate: Measured) -> float:
        return score(candidate, spec.objectives, weights)

    first = recommend(searched, spec).configuration
    ranked = [c.configuration for c in sorted(candidates, key=rating, reverse=True)]
    best = [c for c in dict.fromkeys([first, *ranked]) if c != default][: spec.search.finalists]
    if not best:
        return ()
    return tuple(best if default is None else [default, *best])


def next_finalist(
    records: Sequence[TrialRecord], spec: StudySpec, *, repeats: int | None
) -> Configuration | None:
    """The finalist that is due, round by round; None once each has its repeats.

    One that proves infeasible is not deployed again; the host's faults do not count, up to twice
    the trials that were wanted.

    Args:
        records: Every trial so far.
        spec: Objectives, preference, number of finalists.
        repeats: Deployments of each; None for as many as the caller's budget allows.
    """
    entrants = finalists_of(records, spec)
    proofs = [r for r in records if r.kind is TrialKind.FINALIST and r.configuration in entrants]
    counted = [r for r in proofs if r.outcome.status is not OutcomeStatus.FAILED]
    done = {c: sum(r.configuration == c for r in counted) for c in entrants}
    out = {r.configuration for r in counted if not r.is_feasible}
    due = [c for c in entrants if c not in out and (repeats is None or done[c] < repeats)]
    failed = len(proofs) - len(counted)
    if not due or failed > len(entrants) * spec.search.repeats:
        return None
    return min(due, key=lambda c: (done[c], entrants.index(c)))


def proof_trials(spec: StudySpec) -> int:
    """Trials of the budget kept for proofs: none where they would take over a third of it."""
    wanted = (spec.search.finalists + 1) * spec.search.repeats
    enough = spec.search.finalists > 0 and wanted <= math.floor(spec.budget.trials / 3)
    return wanted if enough else 0
