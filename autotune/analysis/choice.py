"""Which candidate to take: weights, scores, and when a difference counts.

Gains are logarithms of ratios to the baseline, signed so that more is better, weighted by the
study's preference.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from scipy import special

from autotune.analysis.measurements import Measured
from autotune.analysis.noise import SIGNIFICANT, Noise
from autotune.metrics import Unit, metric_named
from autotune.records import Configuration, TrialRecord
from autotune.spec.study import Objective, Preference

LEVEL: Final = 0.025
"""Chance that a study of a default that nothing beats recommends something else."""
_MOST_ERRORS: Final = 4.0
"""Standard errors that are enough whatever the noise rests on."""
_MINOR: Final = 0.1
"""Weight of the objectives that are not preferred: they decide between near-equals."""


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


class Chooser:
    """Chooses among candidates that were measured.

    Args:
        candidates: Configurations with their figures.
        objectives: The study's.
        weights: Of each objective.
        noise: Of each objective's metric.
        baseline: What gains are counted from; a candidate itself where it is feasible.
    """

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
        better = [c for c in self._candidates if self._beats_default(c)]
        if self._baseline is not None and not better:
            return self._baseline
        best = max(better, key=self._score)
        rivals = [c for c in better if not self._beats(best, c, SIGNIFICANT)]
        return min(rivals, key=lambda c: (self._overrides(c), -self._score(c)))

    def is_baseline(self, candidate: Measured) -> bool:
        """Whether it is the default."""
        return candidate is self._baseline

    def gains(self, candidate: Measured) -> dict[str, float]:
        """Objective to ratio against the baseline; empty without one."""
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
        """Why it was chosen, one line."""
        if self._baseline is None:
            why = _why_infeasible(self._compared)
            return f"best {prefer} score among the feasible trials; {why}"
        if chosen is self._baseline:
            return "nothing measured beats the default beyond the noise: keep the default"
        gains = ", ".join(f"{tag} x{ratio:.2f}" for tag, ratio in self.gains(chosen).items())
        return f"best {prefer} score, with the fewest changes among equals: {gains}"

    def _score(self, candidate: Measured) -> float:
        return score(candidate, self._objectives, self._weights)

    def _beats_default(self, candidate: Measured) -> bool:
        """Whether a candidate is better than the default beyond luck.

        One of many rivals looks good by chance, so the level is shared out among them
        (Bonferroni), and noise that rests on few repeats has the tails of Student's t.
        """
        if self._baseline is None:
            return True
        if candidate is self._baseline:
            return False
        return self._beats(candidate, self._baseline, self._errors())

    def _errors(self) -> float:
        """Standard errors by which the default must be beaten."""
        freedom = min(n.freedom for n in self._noise.values())
        level = LEVEL / max(1, len(self._candidates) - 1)
        return min(_MOST_ERRORS, float(special.stdtrit(freedom, 1 - level)))

    def detectable(self) -> dict[str, float]:
        """Per objective, the least relative difference from the default that would have counted."""
        fewest = min(len(c.records) for c in self._candidates)
        of_default = len(self._baseline.records) if self._baseline is not None else 1
        factor = self._errors() * math.sqrt(1 / fewest + 1 / of_default)
        return {tag: math.expm1(factor * n.relative_sd) for tag, n in self._noise.items()}

    def _beats(self, better: Measured, other: Measured, errors: float) -> bool:
        """Whether a difference in score exceeds so many of its standard errors."""
        variance = math.fsum(
            (weight * self._noise[o.metric].relative_sd) ** 2
            for weight, o in zip(self._weights, self._objectives, strict=True)
        )
        repeats = 1 / len(better.records) + 1 / len(other.records)
        threshold = errors * math.sqrt(variance * repeats)
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
