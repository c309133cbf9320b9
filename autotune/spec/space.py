"""Search spaces: parameters, ranges, conditions and relations, declared in a file.

```yaml
parameters:
  kv_cache_dtype: {choices: [auto, fp8]}
  gpu_memory_utilization: {low: 0.80, high: 0.95, step: 0.01}
  max_num_seqs: {low: 16, high: 512, log: true, type: int}
  kv_offload_gib: {low: 0, high: 80, step: 8}
  block_size: {choices: [default, 16, 32], when: {attention_backend: [FLASHINFER]}}
relations:
  - {at_least: [max_num_batched_tokens, max_num_seqs]}
forbidden:
  - {attention_backend: FLEX_ATTENTION, kv_cache_dtype: fp8, because: it has no fp8 cache}
```

The choice `default` leaves the parameter to the engine: it is absent from the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from autotune.errors import SpecError
from autotune.records import Configuration, Scalar
from autotune.spec.files import StrictModel, validate
from autotune.spec.forbidden import BECAUSE, Forbidden
from autotune.spec.parameters import (
    DEFAULT,
    MOST_VALUES,
    Choice,
    Condition,
    Given,
    Parameter,
    Range,
)
from autotune.spec.vocabulary import Vocabulary

__all__ = [
    "DEFAULT",
    "MOST_VALUES",
    "AtLeast",
    "Choice",
    "Condition",
    "Forbidden",
    "Given",
    "Parameter",
    "Range",
    "SearchSpace",
    "space_from",
    "space_to_raw",
]


@dataclass(frozen=True, kw_only=True)
class AtLeast:
    """The first parameter's value must not be under the second's, where both are set."""

    larger: str
    smaller: str


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Parameters and what ties them together.

    Attributes:
        given: What its configurations have that do not say otherwise; it is in no file.
    """

    name: str
    parameters: tuple[Parameter, ...]
    relations: tuple[AtLeast, ...] = ()
    forbidden: tuple[Forbidden, ...] = ()
    given: Given | None = None

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of a name, None if there is none."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {p.name: p for p in self.parameters}

    def active(self, raw: Mapping[str, Scalar]) -> Configuration:
        """What a full set of values means: inactive parameters and `default` are left out."""
        kept: dict[str, Scalar] = {}
        for parameter in self.in_order():
            value = raw.get(parameter.name, DEFAULT)
            if value != DEFAULT and all(condition.holds(kept) for condition in parameter.when):
                kept[parameter.name] = value
        found = Configuration.of(kept)
        return found if self.given is None else self.given.completed(found)

    def in_order(self) -> tuple[Parameter, ...]:
        """Parameters, each after those that its conditions look at."""
        return self._ordered

    @cached_property
    def _ordered(self) -> tuple[Parameter, ...]:
        done: list[Parameter] = []
        left = list(self.parameters)
        while left:
            names = {p.name for p in done}
            ready = [p for p in left if all(c.parameter in names for c in p.when)]
            done += ready
            left = [p for p in left if p not in ready]
        return tuple(done)

    def refusal(self, configuration: Configuration) -> str | None:
        """Why the space itself does not allow a configuration; None if it does."""
        values = configuration.values
        for relation in self.relations:
            larger, smaller = values.get(relation.larger), values.get(relation.smaller)
            if isinstance(larger, int | float) and isinstance(smaller, int | float) \
                    and larger < smaller:  # fmt: skip
                return (f"{relation.larger}={larger} must be at least "
                        f"{relation.smaller}={smaller}")  # fmt: skip
        for pattern in self.forbidden:
            if pattern.hits(values):
                return pattern.refusal(values, self.name)
        return None

    def without(self, *names: str) -> "SearchSpace":
        """A copy without some parameters: they are left to the engine.

        A condition on one of them now holds or fails for good, so it goes, and with one that
        fails goes the parameter or the forbidden pattern that it belongs to. What else left can
        be read off the names.
        """
        gone = set(names)
        for parameter in self.in_order():
            if any(c.parameter in gone and not c.holds({}) for c in parameter.when):
                gone.add(parameter.name)
        return replace(
            self,
            parameters=tuple(
                replace(p, when=tuple(c for c in p.when if c.parameter not in gone))
                for p in self.parameters
                if p.name not in gone
            ),
            relations=tuple(
                r for r in self.relations if r.larger not in gone and r.smaller not in gone
            ),
            forbidden=tuple(
                pattern.under(kept)
                for pattern in self.forbidden
                if not any(c.parameter in gone and not c.holds({}) for c in pattern.conditions)
                and (kept := [c for c in pattern.conditions if c.parameter not in gone])
            ),
        )

    def with_parameter(self, parameter: Parameter) -> "SearchSpace":
        """A copy in which a parameter of the same name is replaced, usually by a narrower one.

        What hung on values that are gone goes too, as in `without`.
        """
        narrowed = replace(
            self,
            parameters=tuple(
                parameter
                if p.name == parameter.name
                else replace(p, when=_possible(p.when, parameter))
                for p in self.parameters
            ),
            forbidden=tuple(
                pattern
                for pattern in (f.under(_possible(f.conditions, parameter)) for f in self.forbidden)
                if all(c.values for c in pattern.conditions)
            ),
        )
        dead = [p.name for p in narrowed.parameters if not all(c.values for c in p.when)]
        return narrowed.without(*dead)


def _possible(conditions: tuple[Condition, ...], parameter: Parameter) -> tuple[Condition, ...]:
    """Conditions on a parameter, less the values that it cannot take."""
    return tuple(
        replace(c, values=tuple(v for v in c.values if v == DEFAULT or parameter.contains(v)))
        if c.parameter == parameter.name
        else c
        for c in conditions
    )


class ParameterModel(StrictModel):
    """A parameter in a file: either `choices`, or `low` and `high`."""

    choices: list[Scalar] | None = Field(default=None, min_length=1)
    low: float | None = None
    high: float | None = None
    step: float | None = Field(default=None, gt=0)
    log: bool = False
    type: Literal["int", "float"] | None = None
    when: dict[str, list[Scalar]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.step is not None or self.log:
                message = "give either choices, or low and high, not both"
                raise ValueError(message)
            if len(set(self.choices)) < len(self.choices):  # 1, 1.0 and true are one to Optuna
                message = "choices hold a value twice"
                raise ValueError(message)
            return self
        if self.low is None or self.high is None:
            message = "needs choices, or low and high"
            raise ValueError(message)
        if self.low > self.high:
            message = f"the range is upside down: low={self.low:g} is over high={self.high:g}"
            raise ValueError(message)
        if self.type == "int" and not all(n.is_integer() for n in self.numbers):
            message = "an integer range needs whole numbers for low, high and step"
            raise ValueError(message)
        if self.log and self.low <= 0:
            message = f"a logarithmic range needs low > 0, found low={self.low:g}"
            raise ValueError(message)
        if self.log and self.step is not None:
            message = "a logarithmic range takes no step"
            raise ValueError(message)
        if self.step is not None and (self.high - self.low) / self.step > MOST_VALUES:
            message = f"the range has more than {MOST_VALUES:,} steps"
            raise ValueError(message)
        return self

    @property
    def numbers(self) -> list[float]:
        """Those of low, high and step that are given."""
        return [n for n in (self.low, self.high, self.step) if n is not None]


class SpaceModel(StrictModel):
    """A search space file."""

    name: str = "space"
    description: str = ""
    parameters: dict[str, ParameterModel] = Field(min_length=1)
    relations: list[dict[Literal["at_least"], tuple[str, str]]] = Field(default_factory=list)
    forbidden: list[dict[str, Scalar | list[Scalar]]] = Field(default_factory=list)


def space_from(raw: Any, *, where: str, vocabulary: Vocabulary | None = None) -> SearchSpace:
    """Read a space.

    Args:
        raw: As parsed from YAML.
        where: Name of the file, for messages.
        vocabulary: Parameters and values that some engine has; any if None.

    Raises:
        SpecError: Naming the field.
    """
    model = validate(SpaceModel, raw, where=where)
    space = SearchSpace(
        name=model.name,
        parameters=tuple(_parameter(name, p) for name, p in model.parameters.items()),
        relations=tuple(AtLeast(larger=r["at_least"][0], smaller=r["at_least"][1])
                        for r in model.relations),
        forbidden=tuple(_forbidden(f, where=where) for f in model.forbidden),
    )  # fmt: skip
    if vocabulary is not None:
        _check_known(space, vocabulary, where=f"{where}: parameters")
    _check_names(space, where=where)
    _check_values(space, where=where)
    _check_cycles(space, where=where)
    return space


def _conditions(raw: Mapping[str, list[Scalar]]) -> tuple[Condition, ...]:
    return tuple(Condition(parameter=name, values=tuple(values)) for name, values in raw.items())


def _forbidden(raw: Mapping[str, Scalar | list[Scalar]], *, where: str) -> Forbidden:
    reason = raw.get(BECAUSE, "")
    if not isinstance(reason, str):
        message = f"{where}: forbidden: {BECAUSE} is why, in words, not {reason!r}"
        raise SpecError(message, hint="Leave it out where there is no reason to tell.")
    values = {k: v if isinstance(v, list) else [v] for k, v in raw.items() if k != BECAUSE}
    return Forbidden(conditions=_conditions(values), reason=reason)


def _parameter(name: str, model: ParameterModel) -> Parameter:
    when = _conditions(model.when)
    if model.choices is not None:
        return Choice(name=name, choices=tuple(model.choices), when=when)
    if model.low is None or model.high is None:  # excluded by the model's own check
        raise AssertionError(name)
    whole = all(n.is_integer() for n in model.numbers)
    integer = model.type == "int" or (model.type is None and whole)
    return Range(name=name, low=model.low, high=model.high, integer=integer, step=model.step,
                 log=model.log, when=when)  # fmt: skip


def _check_known(space: SearchSpace, vocabulary: Vocabulary, *, where: str) -> None:
    """Names first, then every value, a range's ends and steps among them."""
    for parameter in space.parameters:
        vocabulary.check_name(parameter.name, where=where)
    for parameter in space.parameters:
        for value in parameter.grid():
            vocabulary.check_value(parameter.name, value, where=f"{where} -> {parameter.name}")


def _check_names(space: SearchSpace, *, where: str) -> None:
    names = {p.name for p in space.parameters}
    mentioned = [(f"parameters -> {p.name} -> when", c.parameter)
                 for p in space.parameters for c in p.when]  # fmt: skip
    mentioned += [("relations", n) for r in space.relations for n in (r.larger, r.smaller)]
    mentioned += [("forbidden", c.parameter) for f in space.forbidden for c in f.conditions]
    for field, name in mentioned:
        if name not in names:
            message = f"{where}: {field}: there is no parameter {name!r} in this space"
            raise SpecError(message, hint=f"Its parameters: {', '.join(sorted(names))}.")


def _check_values(space: SearchSpace, *, where: str) -> None:
    """A condition on a value that its parameter never takes would fail in silence."""
    conditions = [(f"parameters -> {p.name} -> when", c) for p in space.parameters for c in p.when]
    conditions += [("forbidden", c) for pattern in space.forbidden for c in pattern.conditions]
    for field, condition in conditions:
        parameter = space.parameter(condition.parameter)
        for value in condition.values:
            if parameter is None or value == DEFAULT or parameter.contains(value):
                continue
            message = f"{where}: {field}: {condition.parameter} is never {value!r}"
            raise SpecError(message, hint=f"Its values: {_described(parameter)}.")


def _described(parameter: Parameter) -> str:
    match parameter:
        case Choice(choices=choices):
            return ", ".join(map(str, choices))
        case Range(low=low, high=high):
            return f"{low:g} to {high:g}"


def _check_cycles(space: SearchSpace, *, where: str) -> None:
    placed: set[str] = set()
    left = {p.name: {c.parameter for c in p.when} for p in space.parameters}
    while left:
        ready = [name for name, needs in left.items() if needs <= placed]
        if not ready:
            message = (
                f"{where}: parameters -> {next(iter(left))} -> when: conditions run in a circle"
            )
            raise SpecError(message, hint="Let one of them be unconditional.")
        placed.update(ready)
        left = {name: needs for name, needs in left.items() if name not in placed}


def space_to_raw(space: SearchSpace) -> dict[str, Any]:
    """The YAML form of a space; `space_from` reads it back to an equal one."""
    parameters: dict[str, Any] = {}
    for p in space.parameters:
        entry: dict[str, Any]
        match p:
            case Choice():
                entry = {"choices": list(p.choices)}
            case Range():
                low, high = (int(v) if p.integer else v for v in (p.low, p.high))
                entry = {"low": low, "high": high, "type": "int" if p.integer else "float"}
                entry |= {} if p.step is None else {"step": p.step}
                entry |= {"log": True} if p.log else {}
        if p.when:
            entry["when"] = {c.parameter: list(c.values) for c in p.when}
        parameters[p.name] = entry
    raw: dict[str, Any] = {"name": space.name, "parameters": parameters}
    if space.relations:
        raw["relations"] = [{"at_least": [r.larger, r.smaller]} for r in space.relations]
    if space.forbidden:
        raw["forbidden"] = [pattern.to_raw() for pattern in space.forbidden]
    return raw
