"""What the records show of each setting of a candidate: that it helps, that it costs, or nothing.

A setting helps where the same configuration without it is worse beyond the noise, or loses
something beside the objectives by a clear factor (`analysis/beside.py`). All others are unproven:
they are the first that ablation takes away, and among equals those with fewer of them are taken.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from autotune.analysis.beside import harms_beside, losses
from autotune.analysis.choice import Chooser
from autotune.analysis.costs import Costs
from autotune.analysis.effects import values_of_default
from autotune.analysis.measurements import Measured, differences, fairly
from autotune.analysis.pairs import MatchedPair, in_effect, matched_pairs, told_apart
from autotune.records import Scalar, TrialRecord
from autotune.spec.study import Objective


class Standing(StrEnum):
    """What the pair of configurations that differ in a setting alone says of it.

    In the order in which settings are taken away.

    COSTS      the one without it is not worse, and the candidate has a harm that the pair shows,
               larger than what the one without it loses beside the objectives
    UNSHOWN    nothing that tells for it or against it
    UNMEASURED there is no such pair
    HELPS      the one without it is worse
    """

    COSTS = "costs"
    UNSHOWN = "unshown"
    UNMEASURED = "unmeasured"
    HELPS = "helps"


class Standings:
    """Of the settings of candidates.

    Args:
        everything: Every configuration that was measured.
        objectives: The study's.
        chooser: Tells what is worse beyond the noise.
        costs: Harm against the baseline.
        baseline: What settings are counted from; None if it was not measured: then nothing stands
            against anything.
    """

    def __init__(
        self,
        everything: Sequence[Measured],
        objectives: Sequence[Objective],
        chooser: Chooser,
        costs: Costs,
        baseline: TrialRecord | None,
    ) -> None:
        self._groups = [fairly(group, objectives) for group in everything]
        self._aside = [objective.metric for objective in objectives]
        self._chooser, self._costs = chooser, costs
        self._baseline = baseline
        self._pairs: dict[tuple[str, type, Scalar], tuple[MatchedPair, ...]] = {}
        self._of_pairs: dict[tuple[object, ...], tuple[Standing, frozenset[str]]] = {}

    def of(self, candidate: Measured, name: str) -> Standing:
        """By the pair that is most like the candidate, then the one with the most trials."""
        value = candidate.configuration.get(name)
        if self._baseline is None or value is None:
            return Standing.UNMEASURED
        pairs = self._pairs_of(name, value, self._baseline)

        def rank(pair: MatchedPair) -> tuple[int, int]:
            far = len(differences(pair.having.configuration, candidate.configuration))
            return far, -min(len(pair.having.records), len(pair.lacking.records))

        nearest = min(pairs, key=rank, default=None)
        if nearest is None:
            return Standing.UNMEASURED
        standing, costs = self._told(nearest)
        is_elsewhere = standing is Standing.COSTS and not costs & set(
            self._costs.ratios(candidate.records)
        )
        return Standing.UNSHOWN if is_elsewhere else standing

    def _pairs_of(self, name: str, value: Scalar, baseline: TrialRecord) -> tuple[MatchedPair, ...]:
        """Asked for again by every candidate that has this value."""
        key = (name, type(value), value)  # 1 and true are equal
        if key not in self._pairs:
            against = values_of_default(name, baseline)
            self._pairs[key] = matched_pairs(self._groups, name, (value,), against)
        return self._pairs[key]

    def unproven(self, candidate: Measured) -> tuple[str, ...]:
        """Settings in effect that are not shown to help."""
        return tuple(n for n in self._changed(candidate) if self.of(candidate, n) != Standing.HELPS)

    def burden(self, candidate: Measured) -> tuple[int, int]:
        """Settings that are shown to cost something and not to help; then all that are in effect.

        One that costs weighs more than any number of changes that cost nothing.
        """
        return len(self.costly(candidate)), len(self._changed(candidate))

    def costly(self, candidate: Measured) -> tuple[str, ...]:
        """Settings in effect that are shown to cost something and not to help."""
        changed = self._changed(candidate)
        return tuple(n for n in changed if self.of(candidate, n) is Standing.COSTS)

    def suspects(self, candidate: Measured) -> tuple[str, ...]:
        """Settings of a configuration that may do its large harms; none where it has none.

        Of each harm those values that no configuration without it runs with. A harm of which every
        value is cleared so has none: settings do it together, and nothing tells which.
        """
        changed, found = self._changed(candidate), set[str]()
        for tag in self._chooser.harms(candidate):
            without = [m.latest for m in self._groups if tag not in self._chooser.harms(m)]
            found |= {
                name for name in changed
                if all(in_effect(r, name) != in_effect(candidate.latest, name) for r in without)
            }  # fmt: skip
        return tuple(name for name in changed if name in found)

    def _changed(self, candidate: Measured) -> tuple[str, ...]:
        if self._baseline is None:
            return tuple(name for name, _ in candidate.configuration.items)
        return told_apart(candidate.latest, self._baseline)

    def _told(self, pair: MatchedPair) -> tuple[Standing, frozenset[str]]:
        """What a pair says, and the metrics that its setting makes worse."""
        key = (pair.parameter, pair.having.configuration, pair.lacking.configuration)
        if key not in self._of_pairs:
            self._of_pairs[key] = self._judged(pair)
        return self._of_pairs[key]

    def _judged(self, pair: MatchedPair) -> tuple[Standing, frozenset[str]]:
        having, lacking = pair.having, pair.lacking
        if self._chooser.is_worse(lacking, having):
            return Standing.HELPS, frozenset()
        if losses(lacking.records, having.records, self._costs):
            return Standing.HELPS, frozenset()
        costs = self._costs.against(lacking.records).ratios(having.records)
        lost = harms_beside(lacking.records, having.records, self._costs, self._aside)
        is_costly = _largest(costs) > _largest(lost)
        return (Standing.COSTS if is_costly else Standing.UNSHOWN), frozenset(costs)


def _largest(ratios: Mapping[str, float]) -> float:
    """Size of the first and worst of them, a logarithm."""
    first = next(iter(ratios.values()), 1.0)
    return abs(math.log(first)) if first > 0 else math.inf
