"""A search space as Optuna sees it, frozen for the life of a study.

Changing a range makes some samplers drop the parameter in silence and others raise, so a study's
distributions never change: `store.ensure_same_study` guards the space.
"""

from collections.abc import Iterator, Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autotune.records import Configuration, Scalar
from autotune.spec.parameters import DEFAULT, Choice, Parameter, Range, among
from autotune.spec.space import SearchSpace


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Optuna's form of a parameter.

    Integers on a logarithmic scale become the list of their powers of two: Optuna cannot step on
    that scale, and values between them would be near-duplicates that cost a start each.
    """
    match parameter:
        case Choice():
            return CategoricalDistribution(parameter.choices)
        case Range(log=True, integer=True):
            return CategoricalDistribution(parameter.grid())
        case Range(integer=True):
            step = round(parameter.step or 1)
            low, high = round(parameter.low), round(parameter.high)
            return IntDistribution(low, low + (high - low) // step * step, step=step)
        case Range(log=True):
            return FloatDistribution(parameter.low, parameter.high, log=True)
        case Range(step=None):
            return FloatDistribution(parameter.low, parameter.high)
        case Range(step=float(step)):
            last = parameter.grid()[-1]
            return FloatDistribution(parameter.low, float(last), step=step)
        case _:
            raise AssertionError(parameter)


def distributions_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """All of them, each parameter after those that its conditions look at."""
    return {p.name: distribution_of(p) for p in space.in_order()}


def raw_values(space: SearchSpace, configuration: Configuration) -> dict[str, Scalar]:
    """A configuration as values of the space's parameters, `default` filled in.

    Inactive parameters, and values that the space does not hold (a fixed baseline may have some),
    are left out: the sampler then knows nothing of them.
    """
    raw: dict[str, Scalar] = {}
    for parameter in space.in_order():
        if not is_active(parameter, raw):
            continue
        value = configuration.get(parameter.name)
        value = DEFAULT if value is None else value
        if _holds(parameter, value):
            raw[parameter.name] = value
    return raw


def _holds(parameter: Parameter, value: Scalar) -> bool:
    """Whether a value can be written in Optuna's form of a parameter."""
    match distribution_of(parameter), value:
        case CategoricalDistribution(choices=choices), _:
            return among(value, [c for c in choices if c is not None])
        case ((IntDistribution() | FloatDistribution(step=float())), int() | float()):
            return among(value, parameter.grid())
        case _:
            return parameter.contains(value)


def suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    """Ask a trial for a parameter's value."""
    name, wanted = parameter.name, distribution_of(parameter)
    match wanted:
        case CategoricalDistribution():
            value = trial.suggest_categorical(name, wanted.choices)
            if value is None:
                raise AssertionError(name)
            return value
        case IntDistribution():
            return trial.suggest_int(name, wanted.low, wanted.high, step=wanted.step)
        case FloatDistribution():
            return trial.suggest_float(
                name, wanted.low, wanted.high, step=wanted.step, log=wanted.log
            )
        case _:
            raise AssertionError(wanted)


def suggest_all(trial: optuna.Trial, space: SearchSpace) -> Configuration:
    """Ask a trial for every parameter that is active, in the order of their conditions."""
    raw: dict[str, Scalar] = {}
    for parameter in space.in_order():
        if is_active(parameter, raw):
            raw[parameter.name] = suggest(trial, parameter)
    return as_configuration(space, raw)


def enumerate_space(space: SearchSpace) -> Iterator[Configuration]:
    """Every allowed configuration on the parameters' grids, each once; lazily."""
    parameters = space.in_order()
    seen: set[Configuration] = set()

    def walk(index: int, raw: dict[str, Scalar]) -> Iterator[Configuration]:
        if index == len(parameters):
            configuration = as_configuration(space, raw)
            if configuration not in seen and space.refusal(configuration) is None:
                seen.add(configuration)
                yield configuration
            return
        parameter = parameters[index]
        if not is_active(parameter, raw):
            yield from walk(index + 1, raw)
            return
        for value in parameter.grid():
            yield from walk(index + 1, {**raw, parameter.name: value})

    return walk(0, {})


def is_active(parameter: Parameter, raw: Mapping[str, Scalar]) -> bool:
    """Whether a parameter's conditions hold for the values chosen so far."""
    return all(condition.holds(raw) for condition in parameter.when)


def as_configuration(space: SearchSpace, raw: Mapping[str, Scalar]) -> Configuration:
    """What chosen values mean: reals without dust, `default` and inactive ones left out."""
    clean: dict[str, Scalar] = {}
    for name, value in raw.items():
        parameter = space.parameter(name)
        if isinstance(parameter, Range) and not isinstance(value, str):
            clean[name] = parameter.as_scalar(value)
        else:
            clean[name] = value
    return space.active(clean)
