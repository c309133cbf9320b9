"""Search strategies of one interface: ours, Optuna's, and what people do by hand."""

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from autotune.records import Configuration
from autotune.study.distributions import enumerate_space
from autotune.study.outcomes import Told
from autotune.study.proposals import OptunaProposer, Proposer, proposer_named
from autotune.study.surrogate.candidates import neighbours
from autotune.study.surrogate.proposer import SurrogateProposer
from benchmarks.search.problem import Problem


@dataclass(frozen=True)
class Strategy:
    """How to search.

    Attributes:
        screened: Whether the rough memory model refuses what it thinks will not fit.
        seeded: Whether known-good configurations come first.
    """

    make: Callable[[Problem], Proposer]
    screened: bool = False
    seeded: bool = False


class Forgetting:
    """Tells its sampler FAIL for whatever did not end in figures."""

    expected_gain = None

    def __init__(self, inner: Proposer) -> None:
        self._inner = inner

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """Its sampler's."""
        return self._inner.propose(seen)

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Tell it so."""
        if told.state is TrialState.PRUNED:
            told = replace(told, state=TrialState.FAIL)
        self._inner.learn(configuration, told)


class Sweep:
    """The full grid, in the order of nested loops."""

    expected_gain = None

    def __init__(self, problem: Problem) -> None:
        self._walk: Iterator[Configuration] = enumerate_space(problem.space)

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """The next cell."""
        return next((c for c in self._walk if c not in seen), None)

    def learn(self, configuration: Configuration, told: Told) -> None:
        """A sweep learns nothing."""


class Greedy:
    """One parameter at a time from the best so far, by the sum of logarithmic gains."""

    expected_gain = None

    def __init__(self, problem: Problem) -> None:
        self._signs = [1.0 if o.direction == "maximize" else -1.0 for o in problem.spec.objectives]
        self._space = problem.space
        self._best = Configuration()
        self._score = -np.inf

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """The first change of the best so far that is new; then whatever is left."""
        walks = itertools.chain(neighbours(self._space, self._best), enumerate_space(self._space))
        return next((c for c in walks if c not in seen), None)

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Move to what is better."""
        if told.values is None:
            return
        score = float(np.dot(self._signs, np.log(told.values)))
        if score > self._score:
            self._best, self._score = configuration, score


def _plain_tpe(problem: Problem) -> Proposer:
    return OptunaProposer(problem.spec, problem.space, TPESampler(seed=problem.spec.seed))


def _joint_tpe(problem: Problem) -> Proposer:
    sampler = TPESampler(multivariate=True, group=True, seed=problem.spec.seed)
    return OptunaProposer(problem.spec, problem.space, sampler)


def _named(name: str) -> Callable[[Problem], Proposer]:
    return lambda problem: proposer_named(name, problem.spec, problem.space)


def _alone(problem: Problem) -> Proposer:
    return SurrogateProposer(problem.spec, problem.space)


def _hinted(problem: Problem) -> Proposer:
    return SurrogateProposer(problem.spec, problem.space, hints=problem.seeds)


def _believing(belief: str) -> Callable[[Problem], Proposer]:
    def make(problem: Problem) -> Proposer:
        prior = partial(problem.prior, belief=belief)
        return SurrogateProposer(problem.spec, problem.space, prior, problem.seeds)

    return make


STRATEGIES = {
    "grid sweep": Strategy(Sweep),
    "one at a time": Strategy(Greedy),
    "seed matrix, then one at a time": Strategy(Greedy, seeded=True),
    "random": Strategy(_named("random")),
    "QMC": Strategy(_named("qmc")),
    "NSGA-II": Strategy(_named("nsga2")),
    "TPE, FAIL": Strategy(lambda p: Forgetting(_plain_tpe(p))),
    "TPE, told rightly": Strategy(_plain_tpe),
    "joint TPE, FAIL": Strategy(lambda p: Forgetting(_joint_tpe(p))),
    "joint TPE, told rightly": Strategy(_joint_tpe),
    "joint TPE, Sobol start": Strategy(_named("tpe")),
    "joint TPE, Sobol start, screened": Strategy(_named("tpe"), screened=True),
    "joint TPE, Sobol start, screened, seeds": Strategy(_named("tpe"), screened=True, seeded=True),
    "autotune, no prior, no seeds": Strategy(_alone, screened=True),
    "autotune, no prior": Strategy(_hinted, screened=True),
    "autotune, prior right": Strategy(_believing("right"), screened=True),
    "autotune, prior wrong": Strategy(_believing("wrong"), screened=True),
    "autotune, prior of another card": Strategy(_believing("foreign"), screened=True),
}
