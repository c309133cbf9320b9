"""Which candidate to take: weights, scores, and when a difference counts.

Gains are logarithms of ratios to the baseline, signed so that more is better, weighted by the
study's preference; what a candidate makes worse beside the objectives is taken off: in full where
it is a large factor, else a fifth of it (`analysis/costs.py`). That is its score. A candidate is
passed over, in this order, where

1. its score does not beat the default's beyond luck;
2. another one that beats it too has something that it loses by a large factor (`beside.py`);
3. its score is behind the best one's beyond the noise;
4. it has a setting that is shown to cost something and not to help, and another one has none, or
   it changes more settings.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scipy import special

from autotune.analysis.beside import KEPT, Outdone, outdone
from autotune.analysis.costs import Costs
from autotune.analysis.measurements import Measured
from autotune.analysis.noise import SIGNIFICANT, Noise
from autotune.analysis.pairs import told_apart
from autotune.analysis.score import score_of
from autotune.records import TrialRecord
from autotune.spec.study import Objective

_MATERIAL: Final = 0.01
"""Loss in the score, a logarithm, under which nothing is worth a setting."""
_MOST_ERRORS: Final = 4.0
"""Standard errors that are enough whatever the noise rests on."""


class Chooser:
    """Chooses among candidates that were measured.

    Args:
        candidates: Configurations with their figures.
        objectives: The study's.
        weights: Of each objective.
        noise: Of each objective's metric.
        noise_of_score: Of the weighted sum of their logarithms.
        level: Chance that one candidate of no gain may have to beat the default by luck.
        baseline: What gains are counted from; a candidate itself where it is feasible.
        costs: What candidates make worse; None to look at objectives only.
    """

    def __init__(  # noqa: PLR0917 - built in one place
        self,
        candidates: Sequence[Measured],
        objectives: Sequence[Objective],
        weights: Sequence[float],
        noise: Mapping[str, Noise],
        noise_of_score: Noise,
        level: float,
        baseline: TrialRecord | None,
        costs: Costs | None = None,
    ) -> None:
        self._candidates, self._objectives, self._weights = candidates, objectives, weights
        self._noise, self._costs = noise, costs
        self._beaten: dict[int, Outdone] | None = None
        self._noise_of_score, self._level = noise_of_score, level
        self._scores: dict[int, tuple[Measured, float]] = {}
        wanted = None if baseline is None else baseline.configuration
        self._compared = baseline
        self._baseline = next((c for c in candidates if c.configuration == wanted), None)
        self._large: dict[int, Mapping[str, float]] = {}
        self._kept: list[Measured] = []
        self._better = [c for c in candidates if self.leads(c)]

    @property
    def baseline(self) -> Measured | None:
        """The default, where it is a candidate."""
        return self._baseline

    def heed(self, costly: Callable[[Measured], Sequence[str]]) -> None:
        """Let nothing be outdone by what has more settings that only cost something.

        Args:
            costly: Names those of a candidate (`analysis/standing.py`, which needs this chooser).
        """
        # Now: to keep `costly` would close a ring of references that only the collector ends.
        self._beaten = self._outdone_with(costly)

    @property
    def best(self) -> Measured:
        """The highest score among what beats the default and is not outdone; else the default."""
        if self._baseline is not None and not self._better:
            return self._baseline
        return max(self.left(), key=self.score)

    def left(self) -> list[Measured]:
        """What beats the default and is not outdone by another one."""
        return [c for c in self._better if id(c) not in self._outdone]

    def harms(self, candidate: Measured) -> Mapping[str, float]:
        """Metric to ratio against the default, of what is worse by a large factor; worst first."""
        if self._costs is None or self.is_baseline(candidate):
            return {}
        if id(candidate) not in self._large:
            self._large[id(candidate)] = self._costs.large(candidate.records)
            self._kept.append(candidate)  # else its id could come to be another's
        return self._large[id(candidate)]

    def outdone(self, candidate: Measured) -> Outdone | None:
        """What has something that the candidate loses by a large factor; None where nothing has."""
        return self._outdone.get(id(candidate))

    @property
    def spoilt(self) -> Measured | None:
        """The best that would beat the default by its objectives, and by its harm does not."""
        if self._baseline is None:
            return None
        return max(
            (c for c in self._candidates if self.leads(c, with_harm=False)),
            key=self.gain,
            default=None,
        )

    def choose(
        self,
        burden: Callable[[Measured], tuple[int, ...]] | None = None,
        *,
        with_outdone: bool = False,
    ) -> Measured:
        """The candidate with the fewest overrides among those the best one does not beat.

        Args:
            burden: What a candidate has against it, if not the number of its overrides in effect.
            with_outdone: Whether one that another one outdoes is looked at too.
        """
        if self.best is self._baseline:
            return self.best

        def weight(candidate: Measured) -> tuple[float, ...]:
            in_effect, written = self._overrides(candidate)
            counted = (in_effect,) if burden is None else burden(candidate)
            return *counted, written, -self.score(candidate)

        return min(self.rivals(with_outdone=with_outdone), key=weight)

    def rivals(self, *, with_outdone: bool = False) -> list[Measured]:
        """Of those that beat the default the ones that the best of them does not beat."""
        among = self._better if with_outdone else self.left()
        best = max(among, key=self.score)
        return [c for c in among if not self.is_worse(c, best)]

    @property
    def _outdone(self) -> dict[int, Outdone]:
        """By the identity of the candidate."""
        if self._beaten is None:
            self._beaten = self._outdone_with(lambda _: ())
        return self._beaten

    def _outdone_with(self, costly: Callable[[Measured], Sequence[str]]) -> dict[int, Outdone]:
        if self._costs is None or self._baseline is None:
            return {}
        ranked = sorted(self._better, key=self.score, reverse=True)
        near = [c for c in ranked if self._is_close(c, ranked[0])]

        def may_outdo(candidate: Measured, other: Measured) -> bool:
            is_close = self._is_close(candidate, other)
            return is_close and len(costly(candidate)) <= len(costly(other))

        found = outdone(near, self._costs, may_outdo)
        return {id(near[index]): by for index, by in found.items()}

    def _is_close(self, candidate: Measured, other: Measured) -> bool:
        """Whether it is within the noise of another one, or keeps most of its lead."""
        if not self.is_worse(candidate, other):
            return True
        if self._baseline is None:
            return False
        default = self.score(self._baseline)
        return self.score(candidate) - default >= KEPT * (self.score(other) - default)

    def is_baseline(self, candidate: Measured) -> bool:
        """Whether it is the default."""
        return candidate is self._baseline

    def score(self, candidate: Measured) -> float:
        """Weighted gains less the harm."""
        known = self._scores.get(id(candidate))
        if known is None:  # kept with its score: else its id could come to be another's
            harm = 0.0 if self._costs is None else self._costs.penalty(candidate.records)
            known = self._scores[id(candidate)] = (candidate, self.gain(candidate) - harm)
        return known[1]

    def gain(self, candidate: Measured) -> float:
        """Weighted gains alone, without harm."""
        return score_of(candidate.logs, self._objectives, self._weights)

    def is_behind(self, candidate: Measured, other: Measured, errors: float) -> bool:
        """Whether the other's score is better by more than so many standard errors."""
        return self.score(other) - self.score(candidate) > errors * self.error(candidate, other)

    def is_worse(self, candidate: Measured, other: Measured) -> bool:
        """Whether it is behind beyond the noise, in the score or by what can be told for sure.

        The noise of one objective must not hide a loss in another that hardly varies (context
        capacity is counted, not timed). So the objectives that clearly differ are summed by
        themselves; they decide where they lose a hundredth and the rest does not make up for half.
        """
        if self.is_behind(candidate, other, SIGNIFICANT):
            return True
        clear = self._clear_gain(candidate, other)
        gap = self.score(candidate) - self.score(other)
        return clear <= -_MATERIAL and gap <= clear / 2

    def _clear_gain(self, candidate: Measured, other: Measured) -> float:
        """Weighted gains over another one, of the objectives that differ beyond their noise."""
        repeats = 1 / len(candidate.records) + 1 / len(other.records)
        found = []
        for index, objective in enumerate(self._objectives):
            sign = 1.0 if objective.direction == "maximize" else -1.0
            gain = sign * (candidate.logs[index] - other.logs[index])
            error = self._noise[objective.metric].relative_sd * math.sqrt(repeats)
            if abs(gain) > SIGNIFICANT * error:
                found.append(self._weights[index] * gain)
        return math.fsum(found)

    def error(self, one: Measured, other: Measured) -> float:
        """Standard error of the difference between two scores."""
        repeats = 1 / len(one.records) + 1 / len(other.records)
        return self._noise_of_score.relative_sd * math.sqrt(repeats)

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

    def detectable(self) -> dict[str, float]:
        """Per objective, the least relative difference from the default that would have counted."""
        fewest = min(len(c.records) for c in self._candidates)
        of_default = len(self._baseline.records) if self._baseline is not None else 1
        factor = self._errors() * math.sqrt(1 / fewest + 1 / of_default)
        return {tag: math.expm1(factor * n.relative_sd) for tag, n in self._noise.items()}

    def leads(self, candidate: Measured, *, with_harm: bool = True) -> bool:
        """Whether it beats the default beyond luck (`analysis/decision.py`); all do without one.

        By its objectives less its harm, or by its objectives alone.
        """
        if self._baseline is None:
            return True
        if candidate is self._baseline:
            return False
        of = self.score if with_harm else self.gain
        threshold = self._errors() * self.error(candidate, self._baseline)
        return of(candidate) - of(self._baseline) > threshold

    def _errors(self) -> float:
        """Standard errors by which the default must be beaten: few repeats have Student's tails."""
        freedom = self._noise_of_score.freedom
        return min(_MOST_ERRORS, float(special.stdtrit(freedom, 1 - self._level)))

    def _overrides(self, candidate: Measured) -> tuple[int, int]:
        """What it changes of the default: in effect, and as it is written."""
        reference = self._baseline.latest if self._baseline is not None else self._compared
        written = len(candidate.configuration.items)
        if reference is None:
            return written, written
        return len(told_apart(candidate.latest, reference)), written
