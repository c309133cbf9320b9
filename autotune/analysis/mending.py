"""What is tried beside the search's own proposals: a good configuration less what spoils it.

The search looks at objectives alone, so it may find all that is gained only beside a setting that
makes something else worse by a large factor (`analysis/costs.py`). Before the finalists are picked
the best of such configurations is measured without the suspects of its harm: settings that no
configuration without this harm has. Whether the harm outweighs the gain or not: without it there
is more.

A budget too small for proofs and ablations (`analysis/ablation.py`) keeps a few trials to measure
its choice without what nothing shows to help.

Pure functions of the records: whoever goes on with a study plans the same next trial.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from autotune.analysis.ablation import ablation_trials
from autotune.analysis.decision import Decision, decide
from autotune.analysis.evidence import hints
from autotune.analysis.measurements import Measured, differences
from autotune.analysis.pairs import perhaps_idle, with_values_of
from autotune.analysis.removal import Refusal, allowed, error_of_one_trial, is_doubtful, is_useless
from autotune.analysis.renamed import asked_for
from autotune.analysis.standing import Standing
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import StudySpec

MENDINGS: Final = 2
"""Last trials of a search that may go to that."""
_TIDYING_SHARE: Final = 8
"""One trial in so many of a small budget goes to taking settings away."""


def next_mending(
    records: Sequence[TrialRecord], spec: StudySpec, *, refusal: Refusal = lambda _: None
) -> Configuration | None:
    """The best that has a large harm, less what does it; None where nothing is to be won.

    Args:
        records: Every trial so far.
        spec: Objectives and preference.
        refusal: Why the space does not allow a configuration.
    """
    decision = _decision(records, spec)
    if decision is None or decision.baseline is None:
        return None
    chooser, reference = decision.chooser, decision.baseline.configuration
    least = chooser.score(decision.chosen)
    spoilt = [
        m for m in decision.candidates
        if chooser.harms(m) and chooser.leads(m, with_harm=False) and chooser.gain(m) > least
    ]  # fmt: skip
    wanted = (
        with_values_of(m.configuration, decision.standings.suspects(m), reference)
        for m in sorted(spoilt, key=chooser.gain, reverse=True)
    )
    return _untried(wanted, records, reference, refusal)


def tidying_trials(spec: StudySpec) -> int:
    """Trials that a budget without room for ablations keeps to take settings away."""
    if ablation_trials(spec):
        return 0
    return min(spec.search.ablations, spec.budget.trials // _TIDYING_SHARE)


def next_tidying(
    records: Sequence[TrialRecord], spec: StudySpec, *, refusal: Refusal = lambda _: None
) -> Configuration | None:
    """The choice less what nothing shows to help; None once nothing is left or trials are spent.

    Args:
        records: Every trial so far.
        spec: Objectives, preference, and how many trials may be spent.
        refusal: Why the space does not allow a configuration.
    """
    ours = [r for r in records if r.kind is TrialKind.ABLATION]
    spent = [r for r in ours if not r.is_interrupted]
    if sum(r.outcome.status is not OutcomeStatus.SCREENED for r in spent) >= tidying_trials(spec):
        return None
    decision = _decision(records, spec)
    if decision is None or decision.baseline is None or decision.keeps_default:
        return None
    chosen, reference = decision.chosen, decision.baseline.configuration
    wanted = (
        with_values_of(chosen.configuration, names, reference)
        for names in _removals(decision, chosen, decision.baseline, refusal)
    )
    return _untried(wanted, records, reference, refusal)


def _removals(
    decision: Decision, chosen: Measured, baseline: TrialRecord, refusal: Refusal
) -> tuple[list[str], ...]:
    """What may go, together: what nothing speaks for, what costs something, what is doubtful.

    Else the one that promises least of those that were not measured alone.
    """
    overrides = differences(chosen.configuration, baseline.configuration)
    chooser, standings = decision.chooser, decision.standings
    found = hints(
        decision.everything,
        chosen.latest,
        baseline,
        overrides,
        score=chooser.score,
        error=error_of_one_trial(chooser, chosen),
    )
    idle = perhaps_idle(chosen.latest, baseline)
    shown = {name: standings.of(chosen, name) for name in overrides}
    costly = [n for n in overrides if shown[n] is Standing.COSTS]
    useless = [n for n in overrides if n in idle or is_useless(shown[n], found[n])]
    doubtful = [n for n in overrides if n in useless or is_doubtful(shown[n], found[n])]
    untold = [n for n in overrides if shown[n] is Standing.UNMEASURED]
    weakest = sorted(untold, key=lambda n: found[n].gain)[:1]

    return tuple(
        allowed(chosen.configuration, names, baseline.configuration, refusal)
        for names in (useless, costly, doubtful, weakest)
    )


def _untried(
    wanted: Iterable[Configuration],
    records: Sequence[TrialRecord],
    reference: Configuration,
    refusal: Refusal,
) -> Configuration | None:
    """The first that was never asked for, is allowed, and is not the default."""
    known = {asked_for(record) for record in records} | {r.configuration for r in records}
    known.add(reference)
    return next((c for c in wanted if c not in known and refusal(c) is None), None)


def _decision(records: Sequence[TrialRecord], spec: StudySpec) -> Decision | None:
    try:
        return decide(records, spec)
    except NothingFeasibleError:
        return None
