"""What a set of records comes to, for whoever needs the choice and not its explanation.

When the default is beaten. One of several rivals looks good by chance, and whoever looks again
after every trial finds luck sooner or later. So the level is shared out among the finalists that
were compared with the default (Bonferroni; Hsu, Multiple Comparisons, 1996, section 1.3), and
among the two times that a study looks (Pocock, Biometrika 64, 1977, who needs a little more than
half for each). What is left of a finalist once settings were taken away is looked at only where a
finalist has won, so it takes no share of its own (a gatekeeper; Maurer, Hothorn and Lehmacher,
1995): it is held to the same level.

The default is what there is today, so it must be shown to miss a limit: one whose figure is beyond
it by no more than the noise of its mean stays a candidate. Others must keep every limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autotune.analysis.choice import Chooser
from autotune.analysis.costs import Costs
from autotune.analysis.front import points_of
from autotune.analysis.limits import Slack
from autotune.analysis.measurements import Measured, baseline_of, grouped, proofs
from autotune.analysis.noise import SIGNIFICANT, noise_floor, noise_of
from autotune.analysis.score import noise_of_score, weights_of
from autotune.analysis.standing import Standings
from autotune.analysis.unjudged import nothing_feasible
from autotune.records import TrialKind, TrialRecord
from autotune.spec.study import Preference, StudySpec

LEVEL: Final = 0.025
"""Chance that a study of a default that nothing beats recommends something else."""
LOOKS: Final = 2
"""Times that a study asks: after the repeats of each finalist, and at the end of its budget."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A choice, and what it was made with.

    Attributes:
        chosen: The configuration to recommend.
        candidates: What it was chosen from.
        everything: Every configuration that was measured, by all its trials.
        baseline: What it is compared with; None if the baseline was never measured.
        costs: Harm against the baseline.
        proved: Whether it rests on trials that were deployed for this.
        fewest: The one with the fewest changes among equals, before what would be lost beside the
            objectives was looked at.
        standings: What is shown of the settings of candidates.
    """

    chooser: Chooser
    chosen: Measured
    candidates: tuple[Measured, ...]
    everything: tuple[Measured, ...]
    baseline: TrialRecord | None
    costs: Costs
    proved: bool
    fewest: Measured
    standings: Standings

    @property
    def keeps_default(self) -> bool:
        """Whether nothing beats the default."""
        return self.chooser.is_baseline(self.chosen)


def decide(
    records: Sequence[TrialRecord], spec: StudySpec, prefer: Preference | None = None
) -> Decision:
    """Choose by the study's preference, or by another one without a new trial.

    Where finalists were proved, only they, what ablation left of them and the default are
    candidates, by those trials alone: the search's own measurement of a winner flatters it.
    Another preference looks at every configuration, by the trials that its shown figures are of.

    Raises:
        NothingFeasibleError: If no trial kept every limit.
        NothingJudgedError: If none ran to its end.
    """
    prefer = prefer or spec.prefer
    everything = grouped(records, spec.objectives)
    if not everything:
        raise nothing_feasible(spec.name, records)
    baseline = baseline_of(records)
    everything += _default_at_a_limit(records, spec, everything, baseline)
    proved = _proved(records, spec, everything, baseline) if prefer == spec.prefer else ()
    candidates = proved or points_of(everything, spec.objectives)
    aside = [objective.metric for objective in spec.objectives]
    costs = Costs(_trials_of(baseline, candidates), records, aside)
    weights = weights_of(spec.objectives, prefer)
    chooser = Chooser(
        candidates,
        spec.objectives,
        weights,
        noise_floor(records, spec.objectives),
        noise_of_score(everything, spec.objectives, weights),
        _level(candidates, is_proved=bool(proved)),
        baseline,
        costs,
    )
    standings = Standings(everything, spec.objectives, chooser, costs, baseline)
    chooser.heed(standings.costly)
    fewest = chooser.choose(standings.burden, with_outdone=True)
    return Decision(
        chooser=chooser,
        chosen=chooser.choose(standings.burden),
        fewest=fewest,
        standings=standings,
        candidates=candidates,
        everything=everything,
        baseline=baseline,
        costs=costs,
        proved=bool(proved),
    )


def _proved(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    everything: Sequence[Measured],
    baseline: TrialRecord | None,
) -> tuple[Measured, ...]:
    """Proved candidates; the default stays one of them however it was measured."""
    found = proofs(records, spec.objectives, repeats=spec.search.repeats)
    if not found or baseline is None:
        return found
    wanted = baseline.configuration
    if any(m.configuration == wanted for m in found):
        return found
    return (*(m for m in everything if m.configuration == wanted), *found)


def noise_slack(records: Sequence[TrialRecord]) -> Slack:
    """What the noise may put the mean of so many trials beyond a limit."""

    def slack(metric: str, trials: int) -> float:
        return SIGNIFICANT * noise_of(records, metric).relative_sd / math.sqrt(max(1, trials))

    return slack


def _default_at_a_limit(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    everything: Sequence[Measured],
    baseline: TrialRecord | None,
) -> tuple[Measured, ...]:
    """The default, where it is no candidate and its limits are not shown to be missed."""
    if baseline is None or any(m.configuration == baseline.configuration for m in everything):
        return ()
    same = [r for r in records if r.configuration == baseline.configuration]
    return grouped(same, spec.objectives, slack=noise_slack(records))


def _level(candidates: Sequence[Measured], *, is_proved: bool) -> float:
    """Chance that is left for one candidate to beat the default by luck."""
    if not is_proved:
        return LEVEL / max(1, len(candidates) - 1)
    finalists = sum(any(r.kind is TrialKind.FINALIST for r in m.records) for m in candidates)
    return LEVEL / (LOOKS * max(1, finalists - 1))


def _trials_of(
    baseline: TrialRecord | None, candidates: Sequence[Measured]
) -> Sequence[TrialRecord]:
    if baseline is None:
        return ()
    same = [m.records for m in candidates if m.configuration == baseline.configuration]
    return same[0] if same else (baseline,)
