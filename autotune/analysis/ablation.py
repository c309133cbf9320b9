"""Taking settings away from what would be recommended, until each that is left has paid.

Backward elimination on fresh deployments. First everything goes together that is not shown to help
(`analysis/standing.py`) and that the records give no strong reason to keep; if that costs too much,
half of it, what is shown to cost something first; then what seems to carry the gain and was never
measured alone; then single settings. What is not worse beyond the noise has fewer overrides and so
becomes the choice (`analysis/choice.py`), from which the next step starts. A setting whose removal
is worse beyond the noise, or does not run, is shown to pay. A budget too small for that has one or
two trials for it (`analysis/mending.py`). A removal whose only start compiled with a smaller KV
cache (`analysis/first_starts.py`) tells nothing yet: it is started once more.

Where the default leads only because of harm beside the objectives, it starts from the best by the
objectives alone: that may win once what does the harm is taken away, so its suspects go first.

Pure functions of the records: whoever goes on with a study plans the same next trial.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from autotune.analysis.asked import by_configuration, names_of
from autotune.analysis.decision import Decision, decide
from autotune.analysis.evidence import Hint, hints
from autotune.analysis.finalists import proof_trials
from autotune.analysis.first_starts import is_first_only
from autotune.analysis.measurements import PROVING, Measured, differences, enough_left, grouped
from autotune.analysis.pairs import perhaps_idle, with_values_of
from autotune.analysis.removal import Refusal, allowed, error_of_one_trial, is_doubtful, is_useless
from autotune.analysis.standing import Standing
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.spec.study import StudySpec

_MOST_SHARE: Final = 0.45
"""Share of the budget that proofs and ablations may take together: the rest searches."""
_DECISIVE: Final = 4.0
"""Standard deviations of one trial that a setting must promise to be tested before the rest."""
_RANK: Final = tuple(Standing)
"""What is taken away first."""
_DOUBTFUL: Final = 1.0
"""Standard errors behind the best from which a simpler configuration is measured further."""


def ablation_trials(spec: StudySpec) -> int:
    """Trials of the budget kept for ablations; 0 where proofs leave no room for one whole step."""
    proofs = proof_trials(spec)
    room = math.floor(spec.budget.trials * _MOST_SHARE) - proofs
    kept = min(spec.search.ablations, room)
    return kept if proofs and kept >= spec.search.repeats else 0


def untested_notice(spec: StudySpec) -> str:
    """What is to be known where the budget leaves no room for ablations; empty where it does."""
    if not spec.search.ablations or ablation_trials(spec):
        return ""
    trials = spec.budget.trials
    told = "1 trial is" if trials == 1 else f"{trials} trials are"
    return (
        f"{told} too few to take settings away again from the best one: "
        "some of what is recommended may do nothing"
    )


def next_ablation(
    records: Sequence[TrialRecord], spec: StudySpec, *, refusal: Refusal = lambda _: None
) -> Configuration | None:
    """What is to be deployed next; None once every setting has paid or the trials are spent.

    Args:
        records: Every trial so far.
        spec: Objectives, preference, and how many trials may be spent.
        refusal: Why the space does not allow a configuration. What it does not allow is never
            returned: a setting without which the rest is not allowed stays, for that reason.
    """
    spent = sum(r.kind is TrialKind.ABLATION and _is_spent(r) for r in records)
    if spent >= ablation_trials(spec):
        return None
    try:
        decision = decide(records, spec)
    except NothingFeasibleError:
        return None
    start = decision.chooser.spoilt if decision.keeps_default else decision.chosen
    if not decision.proved or start is None or decision.baseline is None:
        return None
    if not spent and _is_sharpened(decision.baseline, records, spec):
        return None
    left = ablation_trials(spec) - spent
    return _Elimination(records, spec, decision, start, decision.baseline, refusal, left).due()


def _is_spent(record: TrialRecord) -> bool:
    """Whether it took a trial of the budget: what was never started or cut off did not."""
    return not record.is_interrupted and record.outcome.status is not OutcomeStatus.SCREENED


def _is_sharpened(baseline: TrialRecord, records: Sequence[TrialRecord], spec: StudySpec) -> bool:
    """Whether proofs went on after a first look that found no winner.

    Then the next look is at the end of the budget: a look after every trial would find luck
    (`analysis/decision.py`). The default opens each round.
    """
    same = [r for r in records if r.configuration == baseline.configuration and r.is_measured]
    return sum(r.kind is TrialKind.FINALIST for r in same) > spec.search.repeats


class _Elimination:
    """Where the elimination stands."""

    def __init__(  # noqa: PLR0917 - built in one place
        self,
        records: Sequence[TrialRecord],
        spec: StudySpec,
        decision: Decision,
        start: Measured,
        baseline: TrialRecord,
        refusal: Refusal,
        left: int,
    ) -> None:
        self._names, self._left = names_of(records), left
        self._spec, self._decision, self._baseline = spec, decision, baseline
        self._tried = by_configuration(r for r in records if r.kind is TrialKind.ABLATION)
        proving = [r for r in records if r.kind in PROVING]
        self._measured = {m.configuration: m for m in grouped(proving, spec.objectives)}
        self._chosen, self._refusal = start, refusal
        self._reference = baseline.configuration

    def due(self) -> Configuration | None:
        return (
            self._owed(is_last=False)
            or self._unfinished()
            or self._in_doubt()
            or self._next_removal()
            or self._owed(is_last=True)
        )

    def _owed(self, *, is_last: bool) -> Configuration | None:
        """The choice, where it has fewer trials than a finalist: with the last ones at hand.

        Two trials are enough to go on taking away; what is recommended in the end has them all.
        """
        lacking = self._spec.search.repeats - len(self._chosen.records)
        is_owed = lacking > 0 and (is_last or self._left <= lacking)
        return self._chosen.configuration if is_owed else None

    def _unfinished(self) -> Configuration | None:
        """A removal from the choice that was begun and is not yet told."""
        for configuration in self._tried:
            if self._is_simpler(configuration) and self._is_open(configuration):
                return configuration
        return None

    def _is_simpler(self, configuration: Configuration) -> bool:
        removed = differences(configuration, self._chosen.configuration)
        return bool(removed) and configuration == self._less(removed)

    def _is_open(self, configuration: Configuration) -> bool:
        """Whether it has too few trials and is not known to be worse."""
        return not self._is_out(configuration) and not self._has_enough(configuration)

    def _has_enough(self, configuration: Configuration) -> bool:
        measured = self._figures(configuration)
        if measured is None or is_first_only(measured.records):
            return False
        return len(measured.records) >= enough_left(self._spec.search.repeats)

    def _figures(self, configuration: Configuration) -> Measured | None:
        """What it was measured at, under whatever name."""
        return self._measured.get(self._names.get(configuration, configuration))

    def _is_out(self, configuration: Configuration) -> bool:
        """Whether it is not allowed, does not run, or is worse than the best beyond the noise."""
        if self._refusal(configuration) is not None:
            return True
        group = self._tried.get(configuration, ())
        ours = sum(r.outcome.status is OutcomeStatus.FAILED for r in group)
        if ours > self._spec.search.repeats:  # the host's fault, too often to go on
            return True
        broken = {OutcomeStatus.INFEASIBLE, OutcomeStatus.SCREENED}
        if any(r.outcome.status in broken for r in group):
            return True
        measured = self._figures(configuration)
        if measured is None:  # deployed that often without figures of every objective
            return len(group) > self._spec.search.repeats
        if is_first_only(measured.records):
            return False
        chooser = self._decision.chooser
        return chooser.is_worse(measured, chooser.best)

    def _is_refused(self, configuration: Configuration) -> bool:
        """Whether it is out, or was measured enough and is not the choice all the same."""
        is_other = configuration != self._chosen.configuration
        return self._is_out(configuration) or (is_other and self._has_enough(configuration))

    def _in_doubt(self) -> Configuration | None:
        """The choice and the best, in turn, where the choice looks worse and not beyond noise."""
        chooser, chosen = self._decision.chooser, self._chosen
        best, most = chooser.best, self._spec.search.repeats + 1
        if chosen is best or chooser.is_baseline(best) or len(chosen.records) >= most:
            return None
        if not chooser.is_behind(chosen, best, _DOUBTFUL):
            return None
        pair = (chosen, best)
        return min(pair, key=lambda m: len(m.records)).configuration

    def _next_removal(self) -> Configuration | None:
        """The largest set that the records give no reason to keep, halved while it was refused."""
        overrides = differences(self._chosen.configuration, self._reference)
        left = [name for name in overrides if not self._has_paid(name)]
        if not left:
            return None
        idle = perhaps_idle(self._chosen.latest, self._baseline)
        found = self._hints(left)
        shown = {name: self._decision.standings.of(self._chosen, name) for name in left}
        # Those that may do nothing first, then by their pairs, then by what the records promise.
        ranked = sorted(
            left, key=lambda n: (n not in idle, _RANK.index(shown[n]), found[n].gain, n)
        )
        useless = [n for n in ranked if n in idle or is_useless(shown[n], found[n])]
        doubtful = [n for n in ranked if n in useless or is_doubtful(shown[n], found[n])]
        suspected = [n for n in self._decision.standings.suspects(self._chosen) if n in left]
        names = (
            self._allowed(suspected)
            or self._allowed(useless)
            or self._untold(overrides, left, shown)
            or self._allowed(doubtful)
            or ranked[:1]
        )
        if shown[names[0]] is Standing.HELPS:
            names = self._decisive(found) or names
        if len(names) == len(overrides):  # all of them: that is the default, which was beaten
            names = names[:-1] or names
        names = names[: self._most_at_once(overrides)]
        wanted = self._less(names)
        return None if wanted == self._reference or self._is_refused(wanted) else wanted

    def _untold(
        self, overrides: Sequence[str], left: Sequence[str], shown: Mapping[str, Standing]
    ) -> list[str]:
        """What seems to carry the gain, where no pair tells of it: it must not stay so."""
        names = self._decisive(self._hints(overrides))
        return [n for n in names if n in left and shown[n] is Standing.UNMEASURED
                and self._allowed([n])]  # fmt: skip

    def _decisive(self, found: Mapping[str, Hint]) -> list[str]:
        """The setting that promises most, where one trial without it tells: its reason is cheap."""
        strongest = max(found.values(), key=lambda h: h.gain)
        told = _DECISIVE * error_of_one_trial(self._decision.chooser, self._chosen)
        return [strongest.parameter] if strongest.gain > told else []

    def _most_at_once(self, overrides: Sequence[str]) -> int:
        """Half of the smallest set that the choice could not do without, so that steps shrink."""
        sizes = [
            len(differences(configuration, self._chosen.configuration))
            for configuration in {**self._tried, **self._measured}
            if configuration != self._reference
            and self._is_simpler(configuration)
            and self._is_refused(configuration)
        ]
        return max(1, min((size // 2 for size in sizes if size > 1), default=len(overrides)))

    def _allowed(self, ranked: Sequence[str]) -> list[str]:
        """As many of them, from the first on, as the rest can do without."""
        return allowed(self._chosen.configuration, ranked, self._reference, self._refusal)

    def _has_paid(self, name: str) -> bool:
        """Whether the choice, or a larger one before it, was worse or did not run without it."""
        single = self._less([name])
        if single == self._reference or self._is_refused(single):
            return True
        return any(
            self._was_worse(group, with_values_of(group.configuration, [name], self._reference))
            for group in self._measured.values()
            if self._is_ancestor(group.configuration)
        )

    def _is_ancestor(self, configuration: Configuration) -> bool:
        """Whether the choice is what is left of it."""
        removed = differences(configuration, self._chosen.configuration)
        left = with_values_of(configuration, removed, self._reference)
        return left == self._chosen.configuration

    def _was_worse(self, larger: Measured, less: Configuration) -> bool:
        """Whether taking a setting from it did not run, or cost more than the noise."""
        if less == larger.configuration or self._refusal(less) is not None:
            return False  # forbidden beside what has gone since tells nothing of what is left
        measured = self._figures(less)
        if measured is None or is_first_only(measured.records):
            return self._is_out(less)
        return self._decision.chooser.is_worse(measured, larger)

    def _hints(self, names: Sequence[str]) -> dict[str, Hint]:
        """What every record tells of settings of the choice."""
        return hints(
            self._decision.everything,
            self._chosen.latest,
            self._baseline,
            names,
            score=self._decision.chooser.score,
            error=error_of_one_trial(self._decision.chooser, self._chosen),
        )

    def _less(self, names: Sequence[str]) -> Configuration:
        return with_values_of(self._chosen.configuration, names, self._reference)
