"""Configurations that are scored: all of a small space, a spread of a large one, and neighbours."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from autotune.records import Configuration, Scalar
from autotune.spec.parameters import DEFAULT
from autotune.spec.space import SearchSpace
from autotune.study.distributions import as_configuration, enumerate_space, is_active


def pool(space: SearchSpace, most: int, rng: np.random.Generator) -> list[Configuration]:
    """Every allowed configuration, or so many drawn at random where there are more."""
    walked = list(itertools.islice(enumerate_space(space), most + 1))
    if len(walked) <= most:
        return walked
    drawn: dict[Configuration, None] = {}
    for _ in range(20 * most):
        drawn.setdefault(random_configuration(space, rng))
        if len(drawn) >= most:
            break
    return [c for c in drawn if space.refusal(c) is None]


def random_configuration(space: SearchSpace, rng: np.random.Generator) -> Configuration:
    """Each parameter drawn evenly from its grid."""
    raw: dict[str, Scalar] = {}
    for parameter in space.in_order():
        if is_active(parameter, raw):
            grid = parameter.grid()
            raw[parameter.name] = grid[int(rng.integers(len(grid)))]
    return as_configuration(space, raw)


def neighbours(space: SearchSpace, centre: Configuration) -> Iterator[Configuration]:
    """Allowed configurations that differ in one parameter, and in what it needs or decides."""
    values = centre.values
    for parameter in space.parameters:
        for value in parameter.grid():
            if value == values.get(parameter.name, DEFAULT):
                continue
            asked = {**values, parameter.name: value}
            for condition in parameter.when:
                if not condition.holds(asked):
                    asked[condition.parameter] = condition.values[0]
            changed = as_configuration(space, asked)
            if changed != centre and space.refusal(changed) is None:
                yield changed


def neighbours_of_all(
    space: SearchSpace, centres: Sequence[Configuration], most: int, rng: np.random.Generator
) -> list[Configuration]:
    """Neighbours of several, each once; so many of them at random where there are more."""
    found = list(dict.fromkeys(_chain(neighbours(space, c) for c in centres)))
    if len(found) <= most:
        return found
    return [found[i] for i in rng.choice(len(found), most, replace=False)]


def _chain(parts: Iterable[Iterator[Configuration]]) -> Iterator[Configuration]:
    return itertools.chain.from_iterable(parts)
