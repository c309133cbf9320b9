"""What a set of records comes to, for whoever needs the choice and not its explanation."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.choice import Chooser, weights_of
from autotune.analysis.costs import Costs
from autotune.analysis.measurements import Measured, baseline_of, grouped, proofs
from autotune.analysis.noise import noise_floor
from autotune.errors import NothingFeasibleError
from autotune.records import TrialRecord
from autotune.spec.study import Preference, StudySpec


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A choice, and what it was made with.

    Attributes:
        chosen: The configuration to recommend.
        everything: Every configuration that was measured, by all its trials.
        baseline: What it is compared with; None if the baseline was never measured.
        costs: Harm against the baseline.
        proved: Whether it rests on trials that were deployed for this.
    """

    chooser: Chooser
    chosen: Measured
    everything: tuple[Measured, ...]
    baseline: TrialRecord | None
    costs: Costs
    proved: bool

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
    Another preference looks at every trial.

    Raises:
        NothingFeasibleError: If no trial kept every limit.
    """
    prefer = prefer or spec.prefer
    everything = grouped(records, spec.objectives)
    if not everything:
        message = f"none of the {len(records)} trials of {spec.name!r} is feasible"
        hint = "Look at the failures, loosen a limit, or widen the space."
        raise NothingFeasibleError(message, hint=hint)
    baseline = baseline_of(records)
    proved = _proved(records, spec, everything, baseline) if prefer == spec.prefer else ()
    candidates = proved or everything
    aside = [objective.metric for objective in spec.objectives]
    costs = Costs(_trials_of(baseline, candidates), records, aside)
    chooser = Chooser(
        candidates,
        spec.objectives,
        weights_of(spec.objectives, prefer),
        noise_floor(records, spec.objectives),
        baseline,
        costs,
    )
    return Decision(
        chooser=chooser,
        chosen=chooser.choose(),
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


def _trials_of(
    baseline: TrialRecord | None, candidates: Sequence[Measured]
) -> Sequence[TrialRecord]:
    if baseline is None:
        return ()
    same = [m.records for m in candidates if m.configuration == baseline.configuration]
    return same[0] if same else (baseline,)
