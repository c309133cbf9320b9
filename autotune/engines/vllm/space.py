"""The space that the engine at hand leaves, and fixed configurations held against it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from autotune.engines.vllm.compatibility import (
    Circumstances,
    Rule,
    circumstances,
    rule_book,
)
from autotune.engines.vllm.parameters import Judgement, judge
from autotune.records import Configuration, Failure, FailureKind, Scalar
from autotune.seams.engine import Capabilities, ModelFacts, Removal, ResolvedSpace, Settled
from autotune.seams.telemetry import Hardware
from autotune.spec.space import DEFAULT, AtLeast, Choice, Condition, Parameter, SearchSpace


@dataclass
class _Narrowing:
    """A space on its way: what is left, what went, what is kept with a warning."""

    space: SearchSpace
    removed: list[Removal] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

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
    _add_relations(state)
    return ResolvedSpace(
        space=state.space, removed=tuple(state.removed), warnings=tuple(state.warnings)
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
        named = " with ".join(f"{c.parameter}={_list(c.values)}" for c in pattern)
        state.warnings.append(f"{named or rule.name}: {rule.reason}")
    elif len(pattern) > 1:
        if pattern not in state.space.forbidden:
            state.space = replace(state.space, forbidden=(*state.space.forbidden, pattern))
    elif len(pattern) == 1:
        condition = pattern[0]
        parameter = state.space.parameter(condition.parameter)
        if parameter is not None:
            judged = [(v, _by_rule(v, condition, rule)) for v in parameter.grid()]
            _narrow(state, parameter, judged)


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
    return tuple(conditions) if conditions or rule.verdict == "fragile" else None


def _add_relations(state: _Narrowing) -> None:
    """Relations that hold always, where both their parameters are in the space."""
    for relation in rule_book().relations:
        larger, smaller = relation.at_least
        wanted = AtLeast(larger=larger, smaller=smaller)
        both = all(state.space.parameter(name) is not None for name in relation.at_least)
        if both and not relation.only_if and wanted not in state.space.relations:
            state.space = replace(state.space, relations=(*state.space.relations, wanted))


def settle(configuration: Configuration, capabilities: Capabilities, hardware: Hardware) -> Settled:
    """Split a fixed configuration into what can be set, what is default, what is lacking.

    Settings that cannot be together: the one that a rule names gives way, the rest stays.
    """
    at = circumstances(capabilities, hardware)
    kept: dict[str, Scalar] = {}
    left_out: list[Removal] = []
    redundant: dict[str, str] = {}
    for name, value in configuration.items:
        judgement = judge(name, value, capabilities, at)
        if judgement.standing == "lacking":
            left_out.append(Removal(parameter=name, value=value, reason=judgement.reason))
        elif judgement.standing == "default":
            redundant[name] = judgement.reason
        else:
            kept[name] = value
    asked = {n: v for n, v in configuration.items if n in kept or n in redundant}
    while (rule := _first_conflict(asked, kept, at)) is not None:
        value = kept.pop(rule.yields)
        asked.pop(rule.yields)
        if rule.verdict == "redundant":
            redundant[rule.yields] = rule.reason
        else:
            left_out.append(Removal(parameter=rule.yields, value=value, reason=rule.reason))
    return Settled(
        configuration=Configuration.of(kept), left_out=tuple(left_out), redundant=redundant
    )


def _first_conflict(
    asked: Mapping[str, Scalar], kept: Mapping[str, Scalar], at: Circumstances
) -> Rule | None:
    """A rule that a fixed configuration runs into and that one of its settings can mend.

    FLASH_ATTN beside nothing else is left as it was asked for: a matrix's reference names its
    kernel, and a reference that says so is better than one that does not.
    """
    for rule in rule_book().hits(asked, at):
        mendable = rule.yields in kept and rule.verdict != "fragile"
        if mendable and (rule.verdict, rule.yields) != ("redundant", "attention_backend"):
            return rule
    return None


def refusal(
    configuration: Configuration,
    capabilities: Capabilities,
    hardware: Hardware,
    model: ModelFacts | None = None,
) -> Failure | None:
    """Why a configuration must not be started on the engine at hand; None if it may.

    ILLEGAL is a setting or value that this engine lacks, or a broken relation;
    UNSUPPORTED_COMBINATION are settings that do not go together here.
    """
    at = circumstances(capabilities, hardware, model)
    for name, value in configuration.items:
        judgement = judge(name, value, capabilities, at)
        if judgement.standing == "lacking":
            return _failure(FailureKind.ILLEGAL, f"{name}={value}: {judgement.reason}")
    values = configuration.values
    for relation in rule_book().relations:
        if relation.broken_by(values):
            return _failure(FailureKind.ILLEGAL, relation.reason)
    for rule in rule_book().hits(values, at):
        if rule.verdict in ("refused", "ignored"):
            named = " with ".join(f"{n}={values.get(n, DEFAULT)}" for n in rule.settings)
            return _failure(FailureKind.UNSUPPORTED_COMBINATION, f"{named}: {rule.reason}")
    return None


def _failure(kind: FailureKind, message: str) -> Failure:
    return Failure(kind=kind, phase="screening", message=message)
