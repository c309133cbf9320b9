"""Search strategies of one interface: ours, Optuna's, and what people do by hand."""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from optuna.samplers import NSGAIISampler, TPESampler
from optuna.trial import TrialState

from autotune.records import Configuration
from autotune.study.distributions import enumerate_space
from autotune.study.outcomes import Told
from autotune.study.proposals import (
    GeneticProposer,
    OptunaProposer,
    Proposer,
    proposer_named,
)
from autotune.study.surrogate.candidates import neighbours
from autotune.study.surrogate.proposer import SurrogateProposer
from benchmarks.search.flat_gp import FlatGaussianProcess, Imputed
from benchmarks.search.problem import Problem


def nothing_first(_: Problem) -> Sequence[Configuration]:
    """The default is measured, and the search begins."""
    return ()


def seeds_first(problem: Problem) -> Sequence[Configuration]:
    """What somebody who knows such engines would try."""
    return problem.seeds


def single_changes_first(problem: Problem) -> Sequence[Configuration]:
    """The default with one parameter changed, each way."""
    return list(neighbours(problem.space, Configuration()))


@dataclass(frozen=True)
class Strategy:
    """How to search.

    Attributes:
        first: What is measured after the default, before anything is proposed.
        screened: Whether the rough memory model refuses what it thinks will not fit.
        patient: Whether it goes on, up to a greater number of trials, until 95% of the front's
            hypervolume are reached: others are compared with the time that it takes.
    """

    make: Callable[[Problem], Proposer]
    first: Callable[[Problem], Sequence[Configuration]] = nothing_first
    screened: bool = False
    patient: bool = False


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


class Ordinary(OptunaProposer):
    """As Optuna is used: what its sampler proposes is measured, a second time as well.

    Only what the space forbids is asked anew, and costs nothing.
    """

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """Its sampler's word, whatever has been seen."""
        del seen
        return super().propose(frozenset())


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
    return Ordinary(problem.spec, problem.space, TPESampler(seed=problem.spec.seed))


def _plain_tpe_once(problem: Problem) -> Proposer:
    return OptunaProposer(problem.spec, problem.space, TPESampler(seed=problem.spec.seed))


def _joint_tpe(problem: Problem) -> Proposer:
    sampler = TPESampler(multivariate=True, group=True, seed=problem.spec.seed)
    return Ordinary(problem.spec, problem.space, sampler)


def _large_nsga2(problem: Problem) -> Proposer:
    sampler = NSGAIISampler(population_size=50, seed=problem.spec.seed)
    return GeneticProposer(problem.spec, problem.space, sampler)


def _gaussian_process(imputed: Imputed, sobol: int = 0) -> Callable[[Problem], Proposer]:
    return lambda problem: FlatGaussianProcess(problem, imputed, sobol=sobol)


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


_JOINT_SOBOL = Strategy(_named("tpe"))

STRATEGIES = {
    "grid sweep": Strategy(Sweep),
    "one at a time": Strategy(Greedy),
    "seed matrix, then one at a time": Strategy(Greedy, seeds_first),
    "random": Strategy(_named("random"), patient=True),
    "QMC": Strategy(_named("qmc")),
    "NSGA-II, 10": Strategy(_named("nsga2")),
    "NSGA-II, 50": Strategy(_large_nsga2),
    "TPE, FAIL": Strategy(lambda p: Forgetting(_plain_tpe(p)), patient=True),
    "TPE, FAIL, nothing twice": Strategy(lambda p: Forgetting(_plain_tpe_once(p))),
    "TPE, told rightly": Strategy(_plain_tpe),
    "joint TPE, FAIL": Strategy(lambda p: Forgetting(_joint_tpe(p))),
    "joint TPE, told rightly": Strategy(_joint_tpe),
    "joint TPE, one at a time first": Strategy(_joint_tpe, single_changes_first),
    "joint TPE, Sobol start": _JOINT_SOBOL,
    "joint TPE, Sobol start, screened": replace(_JOINT_SOBOL, screened=True),
    "joint TPE, screened, seeds": Strategy(_joint_tpe, seeds_first, screened=True),
    "joint TPE, Sobol start, screened, seeds": replace(
        _JOINT_SOBOL, first=seeds_first, screened=True
    ),
    "GP, FAIL": Strategy(_gaussian_process("never")),
    "GP, median": Strategy(_gaussian_process("median")),
    "GP, worst, Sobol start": Strategy(_gaussian_process("worst", sobol=8)),
    "GP, worst, one at a time first": Strategy(_gaussian_process("worst"), single_changes_first),
    "GP, worst, seeds": Strategy(_gaussian_process("worst"), seeds_first),
    "GP, median, seeds": Strategy(_gaussian_process("median"), seeds_first),
    "autotune, no prior, no seeds": Strategy(_alone, screened=True),
    "autotune, no prior": Strategy(_hinted, screened=True),
    "autotune, prior right": Strategy(_believing("right"), screened=True),
    "autotune, prior wrong": Strategy(_believing("wrong"), screened=True),
    "autotune, prior of another card": Strategy(_believing("foreign"), screened=True),
}
"""Every one of them is compared; `GP` is Optuna's, needs torch, and is left out without it."""
