"""One configuration out of the front, with a reason for each of its settings.

Gains are logarithms of ratios to the baseline, signed so that more is better, weighted by the
study's preference. A candidate within the noise of the best one with fewer overrides beats it; if
the default is within the noise of the best, the answer is the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotune.analysis.choice import Chooser, differences, weights_of
from autotune.analysis.effects import Effect, effect_of_setting
from autotune.analysis.measurements import Measured, baseline_of, grouped, proofs
from autotune.analysis.noise import noise_floor
from autotune.analysis.pareto import pareto_front
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, Scalar, TrialRecord
from autotune.spec.study import Preference, StudySpec

__all__ = ["Recommendation", "SettingReason", "differences", "recommend"]


@dataclass(frozen=True, kw_only=True)
class SettingReason:
    """Why one setting is as it is.

    Attributes:
        value: What is recommended.
        default: What the engine or the baseline would have; None if unknown.
        text: One line.
        effects: What the measurements say about it, per objective.
    """

    parameter: str
    value: Scalar
    default: Scalar | None
    text: str
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer of a study.

    Attributes:
        record: The trial that stands for it.
        baseline: What it is compared with; None if the baseline was never measured.
        keep_default: Whether nothing beats the default beyond the noise.
        gains: Objective to ratio against the baseline, raw (a lower latency is under 1).
        intervals: Objective to the 95% interval of that ratio.
        proved: Whether it rests on repeats that were deployed for this, beside the baseline's.
        detectable: Objective to the smallest relative effect the study could have told from
            noise.
        front: Numbers of the trials on the front.
    """

    record: TrialRecord
    baseline: TrialRecord | None
    keep_default: bool
    reason: str
    settings: tuple[SettingReason, ...]
    gains: Mapping[str, float]
    detectable: Mapping[str, float]
    front: tuple[int, ...]
    prefer: Preference
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    proved: bool = False

    @property
    def configuration(self) -> Configuration:
        """What is recommended."""
        return self.record.configuration


def recommend(
    records: Sequence[TrialRecord], spec: StudySpec, prefer: Preference | None = None
) -> Recommendation:
    """Choose by the study's preference, or by another one without a new trial.

    Where finalists were proved, only they and the baseline are candidates, by those trials alone:
    the search's own measurement of a winner flatters it. Another preference looks at every trial.

    Raises:
        NothingFeasibleError: If no trial kept every limit.
    """
    prefer = prefer or spec.prefer
    candidates = grouped(records, spec.objectives)
    if not candidates:
        message = f"none of the {len(records)} trials of {spec.name!r} is feasible"
        hint = "Look at the failures, loosen a limit, or widen the space."
        raise NothingFeasibleError(message, hint=hint)
    noise = noise_floor(records, spec.objectives)
    weights = weights_of(spec.objectives, prefer)
    baseline = baseline_of(records)
    proved = proofs(records, spec.objectives) if prefer == spec.prefer else ()
    chooser = Chooser(proved or candidates, spec.objectives, weights, noise, baseline)
    chosen = chooser.choose()
    return Recommendation(
        record=chosen.latest,
        baseline=baseline,
        keep_default=chooser.is_baseline(chosen),
        reason=chooser.reason(chosen, prefer),
        settings=_settings(chosen, records, spec, baseline),
        gains=chooser.gains(chosen),
        detectable=chooser.detectable(),
        front=tuple(r.number for r in pareto_front(records, spec.objectives)),
        prefer=prefer,
        intervals=chooser.intervals(chosen),
        proved=bool(proved),
    )


def _settings(
    chosen: Measured,
    records: Sequence[TrialRecord],
    spec: StudySpec,
    baseline: TrialRecord | None,
) -> tuple[SettingReason, ...]:
    reasons = []
    for name, value in chosen.configuration.items:
        effects = tuple(
            effect
            for objective in spec.objectives
            if (effect := effect_of_setting(records, objective, name, value)) is not None
        )
        default = _default(name, baseline)
        reasons.append(
            SettingReason(
                parameter=name,
                value=value,
                default=default,
                text=_reason_text(value, default, effects),
                effects=effects,
            )
        )
    return tuple(reasons)


def _default(name: str, baseline: TrialRecord | None) -> Scalar | None:
    """What the baseline ran with: set, or read back from the server."""
    if baseline is None:
        return None
    asked = baseline.configuration.get(name)
    if asked is not None or baseline.applied is None:
        return asked
    return baseline.applied.settings.get(name)


def _reason_text(value: Scalar, default: Scalar | None, effects: Sequence[Effect]) -> str:
    if value == default:
        return "as in the baseline"
    told = [effect.sentence for effect in effects if effect.is_clear]
    if not told:
        return "part of the best combination; alone it shows no effect beyond the noise"
    return "; ".join(told)
