"""One configuration out of the front, with a reason for each of its settings.

Gains are logarithms of ratios to the baseline, signed so that more is better, weighted by the
study's preference. A candidate within the noise of the best one with fewer overrides beats it; if
the default is within the noise of the best, the answer is the default.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.analysis.effects import Effect, effect_of_setting
from autotune.analysis.measurements import Measured, baseline_of, grouped, proofs
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_floor
from autotune.analysis.pareto import pareto_front
from autotune.errors import NothingFeasibleError
from autotune.metrics import Unit, metric_named
from autotune.records import Configuration, Scalar, TrialRecord
from autotune.spec.study import Objective, Preference, StudySpec

_MINOR: Final = 0.1
"""Weight of the objectives that are not preferred: they decide between near-equals."""


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
    chooser = _Chooser(proved or candidates, spec.objectives, weights, noise, baseline)
    chosen = chooser.choose()
    return Recommendation(
        record=chosen.latest,
        baseline=baseline,
        keep_default=chooser.is_baseline(chosen),
        reason=chooser.reason(chosen, prefer),
        settings=_settings(chosen, records, spec, baseline),
        gains=chooser.gains(chosen),
        detectable={tag: value.floor for tag, value in noise.items()},
        front=tuple(r.number for r in pareto_front(records, spec.objectives)),
        prefer=prefer,
        intervals=chooser.intervals(chosen),
        proved=bool(proved),
    )


def weights_of(objectives: Sequence[Objective], prefer: Preference) -> tuple[float, ...]:
    """Weight of each objective: all equal when balanced, or if none is of the preferred sort."""
    wanted = {
        "throughput": {Unit.TOKENS_PER_S, Unit.REQUESTS_PER_S},
        "latency": {Unit.NS},
        "context": {Unit.TOKENS},
        "balanced": set[Unit](),
    }[prefer]
    hits = [metric_named(o.metric).unit in wanted for o in objectives]
    if not any(hits):
        return tuple(1.0 for _ in objectives)
    return tuple(1.0 if hit else _MINOR for hit in hits)


def score(candidate: Measured, objectives: Sequence[Objective], weights: Sequence[float]) -> float:
    """Weighted sum of logarithms, signed so that more is better."""
    signs = [1.0 if objective.direction == "maximize" else -1.0 for objective in objectives]
    parts = zip(weights, signs, candidate.logs, strict=True)
    return math.fsum(weight * sign * log for weight, sign, log in parts)


class _Chooser:
    def __init__(
        self,
        candidates: Sequence[Measured],
        objectives: Sequence[Objective],
        weights: Sequence[float],
        noise: Mapping[str, Noise],
        baseline: TrialRecord | None,
    ) -> None:
        self._candidates, self._objectives, self._weights = candidates, objectives, weights
        self._noise = noise
        wanted = None if baseline is None else baseline.configuration
        self._compared = baseline
        self._baseline = next((c for c in candidates if c.configuration == wanted), None)

    def choose(self) -> Measured:
        """The candidate with the fewest overrides among those the best one does not beat."""
        best = max(self._candidates, key=self._score)
        if self._baseline is not None and not self._beats(best, self._baseline):
            return self._baseline
        rivals = [c for c in self._candidates if not self._beats(best, c)]
        if self._baseline is not None:  # whatever is chosen must itself beat the default
            rivals = [c for c in rivals if self._beats(c, self._baseline)]
        return min(rivals, key=lambda c: (self._overrides(c), -self._score(c)))

    def is_baseline(self, candidate: Measured) -> bool:
        return candidate is self._baseline

    def gains(self, candidate: Measured) -> dict[str, float]:
        if self._baseline is not None:
            pairs = zip(self._objectives, candidate.logs, self._baseline.logs, strict=True)
            return {o.metric: math.exp(mine - theirs) for o, mine, theirs in pairs}
        if self._compared is None:
            return {}
        theirs = self._compared.metrics
        return {
            o.metric: math.exp(mine) / value
            for o, mine in zip(self._objectives, candidate.logs, strict=True)
            if (value := theirs.get(o.metric))
        }

    def intervals(self, candidate: Measured) -> dict[str, tuple[float, float]]:
        """Of the gains; empty where the baseline itself is no candidate."""
        if self._baseline is None or candidate is self._baseline:
            return {}
        repeats = 1 / len(candidate.records) + 1 / len(self._baseline.records)
        found = {}
        for tag, ratio in self.gains(candidate).items():
            spread = math.exp(SIGNIFICANT * self._noise[tag].relative_sd * math.sqrt(repeats))
            found[tag] = (ratio / spread, ratio * spread)
        return found

    def reason(self, chosen: Measured, prefer: Preference) -> str:
        if self._baseline is None:
            why = _why_infeasible(self._compared)
            return f"best {prefer} score among the feasible trials; {why}"
        if chosen is self._baseline:
            return "nothing measured beats the default beyond the noise: keep the default"
        gains = ", ".join(f"{tag} x{ratio:.2f}" for tag, ratio in self.gains(chosen).items())
        return f"best {prefer} score, with the fewest changes among equals: {gains}"

    def _score(self, candidate: Measured) -> float:
        return score(candidate, self._objectives, self._weights)

    def _beats(self, better: Measured, other: Measured) -> bool:
        """Whether a difference in score exceeds its noise."""
        variance = math.fsum(
            (weight * self._noise[o.metric].relative_sd) ** 2
            for weight, o in zip(self._weights, self._objectives, strict=True)
        )
        repeats = 1 / len(better.records) + 1 / len(other.records)
        threshold = SIGNIFICANT * math.sqrt(variance * repeats)
        return self._score(better) - self._score(other) > threshold

    def _overrides(self, candidate: Measured) -> int:
        if self._baseline is None:
            return len(candidate.configuration.items)
        return len(differences(candidate.configuration, self._baseline.configuration))


def _why_infeasible(baseline: TrialRecord | None) -> str:
    if baseline is None:
        return "the baseline was not measured"
    failure = baseline.outcome.failure
    return f"the default is none of them: {failure.message if failure else 'not measured whole'}"


def differences(one: Configuration, other: Configuration) -> tuple[str, ...]:
    """Parameters on which two configurations differ."""
    mine, theirs = one.values, other.values
    return tuple(n for n in sorted({*mine, *theirs}) if mine.get(n) != theirs.get(n))


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
