"""Which configurations are worth proving: the best few, deployed afresh beside the baseline.

A search's winner was picked because its single measurement was high, so that measurement
flatters it. Finalists are measured again, interleaved with the baseline, and judged by these
trials alone.
"""

import math
from collections.abc import Sequence

from autotune.analysis.asked import is_of
from autotune.analysis.comparable import measured_calmly
from autotune.analysis.decision import decide, noise_slack
from autotune.analysis.limits import keeps_limits, missed_a_limit
from autotune.analysis.measurements import PROVING, baseline_of
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import StudySpec


def finalists_of(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    searched: Sequence[TrialRecord] | None = None,
) -> tuple[Configuration, ...]:
    """The default, where it is feasible, and the best configurations of the search.

    The one that would be recommended comes first, then by score; only trials of the search decide,
    so that the finalists stay the same while they are being proved. Each is deployed as it was
    measured: without a setting that the default's server ran with too it might be another server,
    for which nothing speaks. Empty if there is nothing to prove.

    Args:
        records: Every trial so far, made comparable.
        spec: Objectives, preference and number of finalists.
        searched: Those of the search made comparable among themselves. None takes them from the
            records: there a proof, which is a later start, may have taken a first start's place
            (`analysis/first_starts.py`), and who was proved would be no finalist any more.
    """
    if searched is None:
        searched = [r for r in records if r.kind not in PROVING]
    try:
        decision = decide(searched, spec)
    except NothingFeasibleError:
        return ()
    baseline = decision.chooser.baseline
    default = None if baseline is None else baseline.configuration
    ranked = sorted(decision.everything, key=decision.chooser.score, reverse=True)
    wanted = dict.fromkeys(m.configuration for m in (decision.chosen, *ranked))
    best = [c for c in wanted if c != default][: spec.search.finalists]
    if not best:
        return ()
    return tuple(best if default is None else [default, *best])


def next_finalist(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    searched: Sequence[TrialRecord] | None = None,
) -> Configuration | None:
    """The finalist that is due, round by round; None once each has its repeats.

    One that proves infeasible is not deployed again; the host's faults and what was disturbed
    do not count, up to twice the trials that were wanted.

    Args:
        records: Every trial so far.
        spec: Objectives, preference, number of finalists and of deployments of each.
        searched: As for `finalists_of`.
    """
    return _due(records, spec, finalists_of(records, spec, searched), spec.search.repeats)


def next_round(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    searched: Sequence[TrialRecord] | None = None,
) -> Configuration | None:
    """What a budget that is left over sharpens: the default and its best challenger, in turn.

    That is the answer, or where the default leads the best of the finalists: two that share all
    trials are told apart sooner than three.
    """
    entrants = finalists_of(records, spec, searched)
    if not entrants:
        return None
    decision = decide(records, spec)
    rivals = [m for m in decision.candidates if not decision.chooser.is_baseline(m)]
    if not decision.proved or not rivals:
        return _due(records, spec, entrants, None)
    challenger = max(rivals, key=decision.chooser.score)
    if not decision.keeps_default:
        challenger = decision.chosen
    baseline = decision.chooser.baseline
    if baseline is None:
        return _due(records, spec, (challenger.configuration,), None)
    return _due(records, spec, (baseline.configuration, challenger.configuration), None)


def _due(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    entrants: Sequence[Configuration],
    repeats: int | None,
) -> Configuration | None:
    deployed = [r for r in records if r.kind is TrialKind.FINALIST]
    proofs = [r for r in deployed if any(is_of(r, c) for c in entrants)]
    calm = measured_calmly(records)
    counted = [
        r
        for r in proofs
        if r.outcome.status is not OutcomeStatus.FAILED
        and not (r.is_disturbed and r.configuration in calm)
    ]
    done = {c: sum(is_of(r, c) for r in counted) for c in entrants}
    broken = [r for r in counted if not r.is_feasible and not _is_slip(r, records)]
    out = {c for c in entrants if any(is_of(r, c) for r in broken)}
    due = [c for c in entrants if c not in out and (repeats is None or done[c] < repeats)]
    failed = len(proofs) - len(counted)
    if not due or failed > len(entrants) * spec.search.repeats:
        return None
    return min(due, key=lambda c: (done[c], entrants.index(c)))


def _is_slip(proof: TrialRecord, records: Sequence[TrialRecord]) -> bool:
    """Whether the default missed a limit that it is not shown to miss: it is measured on.

    What everything is compared with must not fall out by one unlucky figure near its limit.
    """
    baseline = baseline_of(records)
    if baseline is None or baseline.configuration != proof.configuration:
        return False
    same = [r for r in records if r.configuration == proof.configuration]
    measured = [r for r in same if r.is_feasible or missed_a_limit(r)]
    return missed_a_limit(proof) and keeps_limits(measured, slack=noise_slack(records))


def proof_trials(spec: StudySpec) -> int:
    """Trials of the budget kept for proofs: none where they would take over a third of it."""
    wanted = (spec.search.finalists + 1) * spec.search.repeats
    enough = spec.search.finalists > 0 and wanted <= math.floor(spec.budget.trials / 3)
    return wanted if enough else 0
