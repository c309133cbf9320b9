"""Why each setting of a recommendation is as it is, as far as trials have shown it.

In this order: the space forbids the rest without it; without it the configuration does not run;
a matched pair (two configurations that differ in it alone) measured what its removal does; the
default's server ran with it too; or nobody measured it alone, and that is said. What a setting
makes worse is its cost and never a reason for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from autotune.analysis.beside import harms_beside
from autotune.analysis.decision import Decision
from autotune.analysis.default_name import engines_own, repaired
from autotune.analysis.effects import Effect, change, effect_of, trials, values_of_default
from autotune.analysis.first_starts import is_first_only
from autotune.analysis.measurements import Measured, differences, fairly
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.analysis.pairs import (
    MatchedPair,
    known_setting,
    matched_pairs,
    perhaps_idle,
    with_values_of,
)
from autotune.analysis.renamed import asked_for
from autotune.analysis.setting_reason import SHOWN, Basis, SettingReason, Shown
from autotune.analysis.standing import Standing
from autotune.metrics import metric_named
from autotune.records import Configuration, OutcomeStatus, Scalar, TrialKind, TrialRecord
from autotune.spec.space import DEFAULT
from autotune.spec.study import Objective

Refusal = Callable[[Configuration], str | None]

_SHOWN_COSTS: Final = 2
"""Metrics made worse that a reason names; `costs` has them all."""
_SHOWN_HARMS: Final = 3
"""Metrics that would be worse without a setting, one of a kind, that a reason names."""


def no_refusal(_configuration: Configuration) -> str | None:
    """For a space that is not known."""
    return None


def reasons_of(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    decision: Decision,
    *,
    refusal: Refusal = no_refusal,
) -> tuple[SettingReason, ...]:
    """A reason for each setting of the chosen configuration.

    Args:
        records: Every trial.
        objectives: What was to get better.
        decision: What was chosen, and among what.
        refusal: Why the space does not allow a configuration.
    """
    made = _Reasons(records, objectives, decision, refusal)
    return tuple(made.reason(name, value) for name, value in decision.chosen.configuration.items)


class _Reasons:
    def __init__(
        self,
        records: Sequence[TrialRecord],
        objectives: Sequence[Objective],
        decision: Decision,
        refusal: Refusal,
    ) -> None:
        self._refusal = refusal
        self._records, self._objectives, self._decision = records, objectives, decision
        self._chosen = decision.chosen
        self._baseline, self._costs = decision.baseline, decision.costs
        self._groups = [fairly(group, objectives) for group in decision.everything]
        reference = Configuration() if self._baseline is None else self._baseline.configuration
        self._reference = reference
        idle = () if self._baseline is None else perhaps_idle(self._chosen.latest, self._baseline)
        self._idle = frozenset(idle)
        chosen = self._chosen.configuration
        self._alike = {asked_for(r) for r in records if r.configuration == chosen} - {chosen}
        self._costs_of_chosen = decision.costs.ratios(self._chosen.records)

    def reason(self, name: str, value: Scalar) -> SettingReason:
        if self._baseline is not None and self._reference.get(name) == value:
            return self._of_default(name, value)
        less = with_values_of(self._chosen.configuration, [name], self._reference)
        forbidden = self._refusal(less)
        if forbidden is not None:
            return self._forced(name, value, forbidden)
        if less in self._alike:
            text = "the server without it ran with the same values: it changes nothing"
            return self._made(name, value, text, Basis.IDLE)
        broken = self._broken(less)
        if broken is not None:
            return self._made(name, value, f"without it: {_end(broken)}", Basis.NEEDED)
        pair = self._nearest(name, value)
        if pair is None and name in self._idle:
            text = "the default ran with it too: it may change nothing; not tried without it"
            return self._made(name, value, text, Basis.IDLE)
        if pair is None:
            return self._made(name, value, self._unmeasured(name, value), Basis.UNMEASURED)
        return self._measured(name, value, pair)

    def _unmeasured(self, name: str, value: Scalar) -> str:
        """That the default's value was not tried in its place; other values may have been."""
        own = None if self._baseline is None else known_setting(self._baseline, name)
        word = "lowered default" if name in repaired(self._records, self._baseline) else "default"
        default = f"the {word}" if own is None else f"the {word} {own}"
        return f"not measured alone: no matched pair of {value} and {default}"

    def _of_default(self, name: str, value: Scalar) -> SettingReason:
        """The default's own, or what repaired the default."""
        asked = [r for r in self._records if r.kind is TrialKind.BASELINE]
        broken = next((r for r in asked if r.configuration.get(name) != value), None)
        if broken is None or broken.outcome.failure is None:
            return self._made(name, value, "as in the baseline", Basis.DEFAULT)
        own = engines_own(self._records, name)
        told = "the default without it" if own is None else f"by default {own}, with which"
        made = self._made(name, value, f"{told}: {_end(broken)}", Basis.NEEDED)
        return replace(made, default=own)

    def _forced(self, name: str, value: Scalar, forbidden: str) -> SettingReason:
        """What a rule asks for has its own cost, measured where the rule does not hold."""
        text = f"without it: {forbidden}"
        pair = self._nearest(name, value)
        if pair is None:
            text += "; what it costs was not measured alone"
            return self._made(name, value, text, Basis.NEEDED)
        costs = self._costs.against(pair.lacking.records).ratios(pair.having.records)
        cost = _told(costs) if costs else "nothing beyond the noise"
        text += f"; {self._measured_with(pair)}: there it cost {cost}"
        return self._made(name, value, text, Basis.NEEDED, costs=costs)

    def _measured_with(self, pair: MatchedPair) -> str:
        """Where else a pair was measured."""
        others = differences(pair.having.configuration, self._chosen.configuration)
        named = ", ".join(f"{n} {_shown(pair.having.configuration, n)}" for n in others)
        return f"measured with {named} ({trials(pair.having.numbers)})"

    def _broken(self, less: Configuration) -> TrialRecord | None:
        """The trial of a configuration less one setting, where none of it was feasible."""
        same = [r for r in self._records if r.configuration == less]
        bad = {OutcomeStatus.INFEASIBLE, OutcomeStatus.SCREENED}
        ends = [r for r in same if r.outcome.status in bad and r.outcome.failure is not None]
        return ends[-1] if ends and not any(r.is_feasible for r in same) else None

    def _nearest(self, name: str, value: Scalar) -> MatchedPair | None:
        """The pair most like what is recommended, then the one with the most trials."""
        against = values_of_default(name, self._baseline)
        pairs = matched_pairs(self._groups, name, (value,), against)

        def rank(pair: MatchedPair) -> tuple[int, int]:
            far = len(differences(pair.having.configuration, self._chosen.configuration))
            return far, -min(len(pair.having.records), len(pair.lacking.records))

        return min(pairs, key=rank, default=None)

    def _measured(self, name: str, value: Scalar, pair: MatchedPair) -> SettingReason:
        found = (
            effect_of(
                [pair],
                objective.metric,
                value,
                noise_of(self._records, objective.metric),
                lower_is_better=objective.direction == "minimize",
            )
            for objective in self._objectives
        )
        effects = tuple(effect for effect in found if effect is not None)
        costs = self._costs.against(pair.lacking.records).ratios(pair.having.records)
        helps, gain = self._gain(pair, effects)
        parts = [gain]
        others = differences(pair.having.configuration, self._chosen.configuration)
        if others:  # what it costs beside them need not be what it costs here
            costs = {tag: r for tag, r in costs.items() if tag in self._costs_of_chosen}
            parts.insert(0, self._measured_with(pair))
        parts += [f"{'there it cost' if others else 'it costs'} {_told(costs)}"] if costs else []
        is_costly = self._decision.standings.of(self._chosen, name) is Standing.COSTS
        shown = Shown.HELPS if helps and not is_costly else Shown.COST if costs else Shown.NOTHING
        made = self._made(name, value, "; ".join(parts), Basis.MEASURED, effects, costs)
        return replace(made, shown=shown)

    def _gain(self, pair: MatchedPair, effects: Sequence[Effect]) -> tuple[bool, str]:
        """Whether the pair shows it to help, and how."""
        once = ", a first start" if is_first_only(pair.lacking.records) else ""
        without = f"without it ({trials(pair.lacking.numbers)}{once})"
        gains = [e for e in effects if e.is_clear and e.better]
        if gains:
            named = ", ".join(f"{metric_named(e.metric).title} {e.without}" for e in gains)
            return True, f"{without} {named}"
        aside = [objective.metric for objective in self._objectives]
        harms = harms_beside(pair.lacking.records, pair.having.records, self._costs, aside)
        missed = _told(harms, most=_SHOWN_HARMS)
        if self._is_worse_together(pair.lacking, pair.having):
            text = f"{without} no objective alone, yet all together are worse beyond the noise"
            return True, f"{text}, and beside them {missed}" if harms else text
        if harms:
            return True, f"{without} no objective is worse beyond the noise, yet {missed}"
        return False, f"{without} no objective is worse beyond the noise: it is not shown to help"

    def _is_worse_together(self, lacking: Measured, having: Measured) -> bool:
        """By the objectives alone: what is lost beside them is told by its name."""
        chooser = self._decision.chooser
        ahead = chooser.gain(having) - chooser.gain(lacking)
        return ahead > SIGNIFICANT * chooser.error(lacking, having)

    def _made(  # noqa: PLR0917
        self,
        name: str,
        value: Scalar,
        text: str,
        basis: Basis,
        effects: tuple[Effect, ...] = (),
        costs: Mapping[str, float] | None = None,
    ) -> SettingReason:
        baseline, own = self._baseline, engines_own(self._records, name)
        return SettingReason(
            parameter=name,
            value=value,
            default=own if own is not None or baseline is None else known_setting(baseline, name),
            text=text,
            effects=effects,
            basis=basis,
            costs=dict(costs or {}),
            shown=SHOWN[basis],
        )


def _shown(configuration: Configuration, name: str) -> Scalar:
    """A setting's value; `default` where it is left to the engine."""
    value = configuration.get(name)
    return DEFAULT if value is None else value


def _end(record: TrialRecord) -> str:
    failure = record.outcome.failure
    return f"{failure.message if failure else 'it did not run'} (trial {record.number})"


def _told(costs: Mapping[str, float], *, most: int = _SHOWN_COSTS) -> str:
    shown = [f"{metric_named(tag).title} {change(ratio)}" for tag, ratio in costs.items()]
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")
