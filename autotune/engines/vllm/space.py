"""The search space that the engine at hand leaves, with a reason for everything taken out."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from autotune.engines.vllm.compatibility import (
    Circumstances,
    Rule,
    circumstances,
    rule_book,
)
from autotune.engines.vllm.parameters import Judgement, judge
from autotune.records import Scalar
from autotune.seams.engine import Capabilities, Fragile, ModelFacts, Removal, ResolvedSpace
from autotune.seams.telemetry import Hardware
from autotune.spec.forbidden import Forbidden, added
from autotune.spec.space import DEFAULT, AtLeast, Choice, Condition, Parameter, SearchSpace


@dataclass
class _Narrowing:
    """A space on its way: what is left, what went, what is kept with a warning.

    `reasons` says why each pattern that was added is forbidden.
    """

    space: SearchSpace
    removed: list[Removal] = field(default_factory=list)
    fragile: list[Fragile] = field(default_factory=list)
    reasons: dict[tuple[Condition, ...], str] = field(default_factory=dict)

    def drop(self, name: str, reason: str) -> None:
        """Leave a parameter to the engine, and name what goes with it."""
        before = {p.name for p in self.space.parameters}
        self.space = self.space.without(name)
        self._say(name, reason, before)

    def keep(
        self, parameter: Parameter, values: list[Scalar], gone: list[tuple[Scalar, str]]
    ) -> None:
        """Narrow a parameter to some of its values."""
        before = {p.name for p in self.space.parameters}
        self.space = self.space.with_parameter(_narrowed(parameter, values))
        self.removed += _removals(parameter, gone)
        self._say(None, "", before)

    def _say(self, name: str | None, reason: str, before: set[str]) -> None:
        if name is not None:
            self.removed.append(Removal(parameter=name, value=None, reason=reason))
        left = {p.name for p in self.space.parameters}
        because = "the values of another parameter that it belongs to are gone"
        self.removed += [Removal(parameter=n, value=None, reason=because)
                         for n in sorted(before - left - {name})]  # fmt: skip


def resolve_space(
    space: SearchSpace, capabilities: Capabilities, hardware: Hardware, model: ModelFacts
) -> ResolvedSpace:
    """Take out of a space what the engine at hand lacks, and tie together what cannot meet.

    Each value is judged alone first (release, installation, machine, model), then the rules about
    several settings become forbidden patterns, or take out values where only one setting is
    left to choose.
    """
    at = circumstances(capabilities, hardware, model)
    state = _Narrowing(space)
    for parameter in space.parameters:
        if state.space.parameter(parameter.name) is not None:
            judged = [(v, _judge_choice(parameter.name, v, capabilities, at))
                      for v in parameter.grid()]  # fmt: skip
            _narrow(state, parameter, judged)
    for rule in rule_book().in_force(at):
        _apply_rule(state, rule, at)
    _drop_dead_values(state)
    _add_relations(state)
    return ResolvedSpace(
        space=state.space, removed=tuple(state.removed), fragile=tuple(state.fragile)
    )


def _judge_choice(
    name: str, value: Scalar, capabilities: Capabilities, at: Circumstances
) -> Judgement:
    if value == DEFAULT:
        return Judgement(standing="default", reason="left to the engine")
    return judge(name, value, capabilities, at)


def _narrow(
    state: _Narrowing, parameter: Parameter, judged: list[tuple[Scalar, Judgement]]
) -> None:
    """Keep what can be set; of several ways to say the default keep one."""
    parameter = state.space.parameter(parameter.name) or parameter
    gone = [(v, j.reason) for v, j in judged if j.standing == "lacking"]
    defaults = [(v, j.reason) for v, j in judged if j.standing == "default"]
    settable = [v for v, j in judged if j.standing == "settable"]
    if not settable and len(judged) > 0:
        reasons = list(dict.fromkeys(reason for _, reason in gone))
        said = [r for v, r in defaults if v != DEFAULT]
        why = "; ".join(reasons or said) or "only the engine's default is left"
        state.drop(parameter.name, why)
        return
    twice = defaults[1:] if isinstance(parameter, Choice) else []
    if twice and any(v == DEFAULT for v, _ in twice):  # `default` is the one that stays
        twice = [(v, r) for v, r in defaults if v != DEFAULT]
    gone += twice
    if gone:
        dropped = {(type(v), v) for v, _ in gone}
        kept = [v for v, _ in judged if (type(v), v) not in dropped]
        state.keep(parameter, kept, gone)


def _narrowed(parameter: Parameter, values: list[Scalar]) -> Parameter:
    if isinstance(parameter, Choice):
        return replace(parameter, choices=tuple(values))
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    return replace(parameter, low=min(numbers), high=max(numbers))


def _removals(parameter: Parameter, gone: list[tuple[Scalar, str]]) -> Iterable[Removal]:
    """One entry per value; values of a range that go for one reason are said together."""
    if isinstance(parameter, Choice):
        return [Removal(parameter=parameter.name, value=v, reason=r) for v, r in gone]
    found = []
    for reason, group in groupby(gone, key=lambda item: item[1]):
        values = [v for v, _ in group]
        shown: Scalar = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
        found.append(Removal(parameter=parameter.name, value=shown, reason=reason))
    return found


def _apply_rule(state: _Narrowing, rule: Rule, at: Circumstances) -> None:
    """Turn a rule about several settings into a pattern of the space, or into removals."""
    pattern = _pattern(state.space, rule, at)
    if pattern is None:
        return
    if rule.verdict == "fragile":
        reason = rule.reason
        if len(pattern) > 1 and _has_safe_way(state.space, rule):
            reason += "; the search leaves this out"
            _forbid(state, pattern, rule.reason)
        state.fragile.append(Fragile(name=rule.name, settings=pattern, reason=reason))
    elif rule.verdict == "redundant" and not _has_default(state.space, rule.yields):
        return  # nothing else in this space says the same
    elif len(pattern) > 1:
        _forbid(state, pattern, rule.reason)
    elif len(pattern) == 1:
        condition = pattern[0]
        parameter = state.space.parameter(condition.parameter)
        if parameter is not None:
            judged = [(v, _by_rule(v, condition, rule)) for v in parameter.grid()]
            _narrow(state, parameter, judged)


def _forbid(state: _Narrowing, pattern: tuple[Condition, ...], reason: str) -> None:
    state.reasons.setdefault(pattern, reason)
    new = Forbidden(conditions=pattern, reason=reason)
    state.space = replace(state.space, forbidden=added(state.space.forbidden, new))


def _has_safe_way(space: SearchSpace, rule: Rule) -> bool:
    """Whether the space offers what a rule names as safe."""
    return any(
        parameter.contains(value)
        for name, values in rule.safe.items()
        if (parameter := space.parameter(name)) is not None
        for value in values
    )


def _has_default(space: SearchSpace, name: str) -> bool:
    """Whether a parameter can be left to the engine."""
    parameter = space.parameter(name)
    return parameter is None or bool(parameter.when) or DEFAULT in parameter.grid()


def _drop_dead_values(state: _Narrowing) -> None:
    """Take out values that rules forbid beside every value of some other parameter."""
    for parameter in state.space.parameters:
        if not isinstance(parameter, Choice):
            continue
        dead = [(v, why) for v in parameter.choices
                if (why := _why_dead(state, parameter.name, v)) is not None]  # fmt: skip
        kept = [v for v in parameter.choices if v not in {d for d, _ in dead}]
        if dead and kept:
            state.keep(parameter, kept, dead)


def _why_dead(state: _Narrowing, name: str, value: Scalar) -> str | None:
    """Why a value can meet no value of another parameter; None if it can meet one of each."""
    barred: dict[str, set[Scalar]] = {}
    reasons: dict[str, list[str]] = {}
    for pattern, reason in state.reasons.items():
        by_name = {c.parameter: c.values for c in pattern}
        if len(pattern) == 2 and value in by_name.pop(name, ()):
            other, values = by_name.popitem()
            barred.setdefault(other, set()).update(values)
            reasons.setdefault(other, []).append(f"{other}={_list(values)}: {reason}")
    for other, bars in barred.items():
        parameter = state.space.parameter(other)
        if parameter is not None and not parameter.when and set(parameter.grid()) <= bars:
            return "; ".join(reasons[other])
    return None


def _list(values: tuple[Scalar, ...]) -> str:
    return "|".join(str(v) for v in values)


def _by_rule(value: Scalar, condition: Condition, rule: Rule) -> Judgement:
    """A value under a rule whose other settings can be nothing else in this space."""
    if value == DEFAULT:
        return Judgement(standing="default", reason="left to the engine")
    if any(value == v and type(value) is type(v) for v in condition.values):
        standing = "default" if rule.verdict == "redundant" else "lacking"
        return Judgement(standing=standing, reason=rule.reason)  # type: ignore[arg-type] # one of two literals
    return Judgement(standing="settable")


def _pattern(space: SearchSpace, rule: Rule, at: Circumstances) -> tuple[Condition, ...] | None:
    """Values of the space that a rule means; None if they cannot all occur.

    Settings that can take nothing else in this space are left out, so that what remains is what
    there is to choose.
    """
    conditions = []
    for name in rule.settings:
        parameter = space.parameter(name)
        values = (DEFAULT,) if parameter is None else parameter.grid()
        matching = tuple(v for v in values if rule.matches(name, None if v == DEFAULT else v, at))
        if not matching:
            return None
        if len(matching) < len(values) or (parameter is not None and parameter.when):
            conditions.append(Condition(parameter=name, values=matching))
    if not conditions and rule.verdict != "fragile":
        return None
    return tuple(conditions) if _can_meet(space, conditions) else None


def _can_meet(space: SearchSpace, pattern: list[Condition]) -> bool:
    """Whether the parameters of a pattern can be active with those values at one time."""
    wanted = {c.parameter: set(c.values) for c in pattern}
    return all(
        wanted[needed.parameter] & set(needed.values)
        for name in wanted
        if (parameter := space.parameter(name)) is not None
        for needed in parameter.when
        if needed.parameter in wanted
    )


def _add_relations(state: _Narrowing) -> None:
    """Relations that hold always, where both their parameters are in the space."""
    for relation in rule_book().relations:
        larger, smaller = relation.at_least
        wanted = AtLeast(larger=larger, smaller=smaller)
        both = all(state.space.parameter(name) is not None for name in relation.at_least)
        if both and not relation.only_if and wanted not in state.space.relations:
            state.space = replace(state.space, relations=(*state.space.relations, wanted))
