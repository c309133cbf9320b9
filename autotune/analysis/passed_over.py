"""Why what was measured better, or proved, is not what is recommended: the rule that did it.

The rules are those of the choice (`analysis/choice.py`), looked at again in their order for one
configuration: harm beside the objectives, what another one has that it loses, the weighted
score, the noise, what costs something, the number of changes, and that only what was proved by
repeats may be chosen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autotune.analysis.costs import told
from autotune.analysis.decision import Decision
from autotune.analysis.effects import change
from autotune.analysis.front import on_front
from autotune.analysis.measurements import Measured
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_floor
from autotune.analysis.pairs import told_apart
from autotune.analysis.spread import spread_of
from autotune.metrics import metric_named
from autotune.records import TrialRecord
from autotune.spec.study import Objective, Preference

_NAMED: Final = 2
"""Metrics that a reason names; of the rest it has the number."""


class Rule(StrEnum):
    """What a configuration was passed over by.

    HARM     it makes something beside its objectives worse than the default, which outweighs what
             it is ahead by in them
    LOSS     another one has something beside the objectives that it loses by a large factor
    SCORE    by the weights of the preference its objectives are behind
    NOISE    its lead is within the noise
    COSTLY   within the noise of what is recommended, with a setting that costs something and is
             not shown to help
    CHANGES  within the noise of what is recommended, and it changes more
    UNPROVED it was not among those that were proved by repeats
    """

    HARM = "harm"
    LOSS = "loss"
    SCORE = "score"
    NOISE = "noise"
    COSTLY = "costly"
    CHANGES = "changes"
    UNPROVED = "unproved"


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """One configuration that was not taken.

    Attributes:
        number: Of the trial that stands for it.
        text: The rule with its figures, a part of a sentence.
    """

    number: int
    rule: Rule
    text: str


@dataclass(frozen=True, kw_only=True)
class Forgone:
    """The best that was measured of one objective, where it is not what is recommended.

    Attributes:
        metric: The objective.
        value: Mean, raw.
        ratio: Against what is recommended.
    """

    metric: str
    value: float
    ratio: float
    passed: PassedOver


class Passing:
    """Tells why configurations were passed over.

    Args:
        decision: The choice.
        objectives: The study's.
        prefer: The preference that it was made by.
        records: Every trial; their repeats tell the noise.
    """

    def __init__(
        self,
        decision: Decision,
        objectives: Sequence[Objective],
        prefer: Preference,
        records: Sequence[TrialRecord],
    ) -> None:
        self._decision, self._objectives, self._prefer = decision, objectives, prefer
        self._noise: Mapping[str, Noise] = noise_floor(records, objectives)
        spreads = (spread_of(records, objective.metric) for objective in objectives)
        self._luck = frozenset(s.metric for s in spreads if s is not None and s.is_noise)
        self._groups = {m.configuration: m for m in (*decision.everything, *decision.candidates)}

    def over(self, points: Sequence[Measured]) -> tuple[PassedOver, ...]:
        """Of each point that is neither the default nor recommended."""
        chosen, baseline = self._decision.chosen, self._decision.baseline
        skipped = {chosen.configuration} | (set() if baseline is None else {baseline.configuration})
        return tuple(self._why(p) for p in points if p.configuration not in skipped)

    def forgone(self, points: Sequence[Measured]) -> tuple[Forgone, ...]:
        """Of each objective the best point, where it beats recommendation and default clearly.

        Beyond the noise of the means of both. Of points that are alike in it as shown, the one
        that none beats in the rest: one of the front.
        """
        points = on_front(points, self._objectives)
        chosen, found = self._decision.chosen, []
        for index, objective in enumerate(self._objectives):
            sign = 1.0 if objective.direction == "maximize" else -1.0
            best = max(points, key=lambda p: sign * p.logs[index], default=None)
            others = [m for m in (chosen, self._decision.chooser.baseline) if m is not None]
            if best is None or best.configuration in {m.configuration for m in others}:
                continue
            if all(
                sign * (best.logs[index] - other.logs[index]) > self._reach(objective, best)
                for other in others
            ):
                ratio = math.exp(best.logs[index] - chosen.logs[index])
                passed = self._why(best)
                found.append(
                    Forgone(
                        metric=objective.metric,
                        value=best.values[index],
                        ratio=ratio,
                        passed=passed,
                    )
                )
        return tuple(found)

    def _why(self, point: Measured) -> PassedOver:
        rule, text = self._rule(self._groups.get(point.configuration, point))
        return PassedOver(number=point.latest.number, rule=rule, text=text)

    def _rule(self, point: Measured) -> tuple[Rule, str]:
        chooser, chosen = self._decision.chooser, self._decision.chosen
        is_candidate = any(point is m for m in self._decision.candidates)
        large = chooser.harms(point)
        if large and not self._is_ahead(point) and chooser.baseline is not None:
            outweighed = ", which outweighs its gain" if self._gains(point) else ""
            return Rule.HARM, f"{told(large, most=_NAMED)} against the default{outweighed}"
        if chooser.is_baseline(chosen):
            return self._beside_the_default(point)
        if (by := chooser.outdone(point)) is not None:
            loss = told(by.losses, most=_NAMED)
            other = by.by.latest.number
            return Rule.LOSS, f"{loss} against trial {other}, which gains about as much"
        if is_candidate and self._is_ahead(point) and not chooser.leads(point):
            return self._not_shown(point)
        if not is_candidate and chooser.score(point) > chooser.score(chosen):
            return self._unproved(point)
        if any(point is rival for rival in chooser.rivals()):
            return self._equal(point)
        return self._behind(point)

    def _beside_the_default(self, point: Measured) -> tuple[Rule, str]:
        """Where the default is the answer."""
        if self._decision.chooser.leads(point):
            return self._unproved(point)
        return self._not_shown(point) if self._is_ahead(point) else self._behind(point)

    def _is_ahead(self, point: Measured) -> bool:
        """Whether its score is above the default's, by luck or not."""
        chooser = self._decision.chooser
        default = chooser.baseline
        return default is not None and chooser.score(point) > chooser.score(default)

    def _gains(self, point: Measured) -> bool:
        """Whether it would be above the default without its harm, by luck or not."""
        chooser = self._decision.chooser
        default = chooser.baseline
        return default is not None and chooser.gain(point) > chooser.gain(default)

    def _not_shown(self, point: Measured) -> tuple[Rule, str]:
        """Of one that leads the default by no more than the noise, or would without its harm."""
        harm = self._harm(point)
        if harm and self._decision.chooser.leads(point, with_harm=False):
            return Rule.HARM, f"{harm} against the default, which outweighs its lead"
        return Rule.NOISE, f"{self._within(point)}, so not shown to beat it"

    def _equal(self, point: Measured) -> tuple[Rule, str]:
        """Of one that the noise does not tell from what is recommended."""
        standings, chosen = self._decision.standings, self._decision.chosen
        costly = [len(standings.costly(m)) for m in (point, chosen)]
        if costly[0] > costly[1]:
            names = ", ".join(standings.costly(point))
            return Rule.COSTLY, f"within the noise of it, with {names}: a cost, not shown to help"
        extra = self._changes(point) - self._changes(chosen)
        if extra > 0:
            settings = "setting" if extra == 1 else "settings"
            return Rule.CHANGES, f"within the noise of it, and changes {extra} {settings} more"
        return Rule.NOISE, "within the noise of it, and no simpler"

    def _changes(self, point: Measured) -> int:
        baseline = self._decision.baseline
        if baseline is None:
            return len(point.configuration.items)
        return len(told_apart(point.latest, baseline))

    @staticmethod
    def _unproved(point: Measured) -> tuple[Rule, str]:
        times = "once" if len(point.records) == 1 else f"{len(point.records)} times"
        return Rule.UNPROVED, f"measured {times}, and not among the finalists that were proved"

    def _within(self, point: Measured) -> str:
        worse = self._worse(point)
        cost = f" (with {worse})" if worse else ""
        return f"within the noise of the default by the {self._prefer} score{cost}"

    def _behind(self, point: Measured) -> tuple[Rule, str]:
        """By its objectives, where one is clearly worse; else by harm; else by a little."""
        chooser, chosen = self._decision.chooser, self._decision.chosen
        lost, harm = self._worse(point), self._harm(point)
        if harm and chooser.gain(point) > chooser.gain(chosen):
            return Rule.HARM, f"{harm} against the default, which outweighs its lead"
        if harm and not lost:
            return Rule.HARM, f"no better in its objectives, and {harm} against the default"
        lost = lost or "in no objective by more than the noise"
        return Rule.SCORE, f"a lower {self._prefer} score ({lost})"

    def _worse(self, point: Measured) -> str:
        """Objectives in which it is behind what is recommended beyond the noise.

        None in which all configurations lie within it: the extremes of many differ by luck.
        """
        chosen, lost = self._decision.chosen, []
        for index, objective in enumerate(self._objectives):
            if objective.metric in self._luck:
                continue
            sign = 1.0 if objective.direction == "maximize" else -1.0
            gap = point.logs[index] - chosen.logs[index]
            if sign * gap < -self._reach(objective, point):
                lost.append(f"{metric_named(objective.metric).title} {change(math.exp(gap))}")
        return ", ".join(lost)

    def _reach(self, objective: Objective, point: Measured) -> float:
        """What the noise may put between a point and what is recommended, a logarithm."""
        repeats = 1 / len(point.records) + 1 / len(self._decision.chosen.records)
        return SIGNIFICANT * self._noise[objective.metric].relative_sd * math.sqrt(repeats)

    def _harm(self, point: Measured) -> str:
        """What it makes worse beside the objectives, by more than what is recommended does."""
        costs, aside = self._decision.costs, {o.metric for o in self._objectives}
        mine = costs.ratios(point.records)
        theirs = costs.ratios(self._decision.chosen.records)
        excess = {
            tag: _size(ratio) - _size(theirs.get(tag, 1.0))
            for tag, ratio in mine.items()
            if tag not in aside
        }
        more = {tag: mine[tag] for tag in mine if excess.get(tag, 0.0) > 0}
        return told(more, most=_NAMED)


def _size(ratio: float) -> float:
    """Of a change, a logarithm."""
    return abs(math.log(ratio)) if ratio > 0 else math.inf
