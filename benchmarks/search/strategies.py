"""Search strategies of one interface: ours, Optuna's, and what people do by hand."""

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from autotune.records import Configuration
from autotune.spec.parameters import DEFAULT
from autotune.study.distributions import enumerate_space
from autotune.study.outcomes import Told
from autotune.study.proposals import OptunaProposer, Proposer, proposer_named
from autotune.study.surrogate.candidates import neighbours
from autotune.study.surrogate.proposer import SurrogateProposer
from benchmarks.search.landscape import SPACE
from benchmarks.search.problem import Problem


@dataclass(frozen=True)
class Strategy:
    """How to search.

    Attributes:
        screened: Whether the rough memory model refuses what it thinks will not fit.
        seeded: Whether known-good configurations come first.
        fails_are_forgotten: Whether out-of-memory is told as FAIL, the ordinary way.
    """

    make: Callable[[Problem], Proposer]
    screened: bool = False
    seeded: bool = False
    fails_are_forgotten: bool = False


class Forgetting:
    """Tells its sampler FAIL for whatever did not end in figures."""

    def __init__(self, inner: Proposer) -> None:
        self._inner = inner

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        return self._inner.propose(seen)

    def learn(self, configuration: Configuration, told: Told) -> None:
        if told.state is TrialState.PRUNED:
            told = replace(told, state=TrialState.FAIL)
        self._inner.learn(configuration, told)


class Sweep:
    """The full grid, in the order of nested loops."""

    def __init__(self) -> None:
        self._walk: Iterator[Configuration] = enumerate_space(SPACE)

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        return next((c for c in self._walk if c not in seen), None)

    def learn(self, configuration: Configuration, told: Told) -> None:
        """A sweep learns nothing."""


class Greedy:
    """One parameter at a time from the best so far, by the sum of logarithmic gains."""

    def __init__(self, problem: Problem) -> None:
        self._signs = [1.0 if o.direction == "maximize" else -1.0 for o in problem.spec.objectives]
        self._best = Configuration()
        self._score = -np.inf

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        for parameter in itertools.cycle(SPACE.parameters):
            del parameter
            break
        near = [c for c in neighbours(SPACE, self._best) if c not in seen]
        return near[0] if near else next((c for c in enumerate_space(SPACE) if c not in seen), None)

    def learn(self, configuration: Configuration, told: Told) -> None:
        if told.values is None:
            return
        score = float(np.dot(self._signs, np.log(told.values)))
        if score > self._score:
            self._best, self._score = configuration, score


def _plain_tpe(problem: Problem) -> Proposer:
    return OptunaProposer(problem.spec, SPACE, TPESampler(seed=problem.spec.seed))


def _joint_tpe(problem: Problem) -> Proposer:
    sampler = TPESampler(multivariate=True, group=True, seed=problem.spec.seed)
    return OptunaProposer(problem.spec, SPACE, sampler)


def _named(name: str) -> Callable[[Problem], Proposer]:
    return lambda problem: proposer_named(name, problem.spec, SPACE)


def _surrogate(problem: Problem) -> Proposer:
    return SurrogateProposer(problem.spec, SPACE)


def _informed(problem: Problem) -> Proposer:
    return SurrogateProposer(problem.spec, SPACE, problem.prior)


STRATEGIES = {
    "grid sweep": Strategy(lambda _p: Sweep()),
    "greedy": Strategy(Greedy),
    "random": Strategy(_named("random")),
    "qmc": Strategy(_named("qmc")),
    "nsga2": Strategy(_named("nsga2")),
    "tpe FAIL": Strategy(lambda p: Forgetting(_plain_tpe(p)), fails_are_forgotten=True),
    "tpe": Strategy(_plain_tpe),
    "tpe joint FAIL": Strategy(lambda p: Forgetting(_joint_tpe(p)), fails_are_forgotten=True),
    "tpe joint": Strategy(_joint_tpe),
    "tpe joint sobol": Strategy(_named("tpe")),
    "tpe joint sobol screen": Strategy(_named("tpe"), screened=True),
    "tpe joint sobol screen seeds": Strategy(_named("tpe"), screened=True, seeded=True),
    "gp screen": Strategy(_surrogate, screened=True),
    "gp screen seeds": Strategy(_surrogate, screened=True, seeded=True),
    "gp screen prior": Strategy(_informed, screened=True),
    "gp screen prior seeds": Strategy(_informed, screened=True, seeded=True),
}


def good_seeds() -> list[Configuration]:
    """What somebody who knows such engines would try first."""
    return [
        Configuration.of(values)
        for values in (
            {"attention_backend": "FLASHINFER"},
            {"kv_cache_dtype": "fp8"},
            {"max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.9},
            {"kv_cache_dtype": "fp8", "attention_backend": "FLASHINFER", "kv_offload_gib": 32},
            {"kv_offload_gib": 32},
        )
    ]


def differs(one: Configuration, other: Configuration) -> int:
    """Parameters on which two differ."""
    names = {name for name, _ in (*one.items, *other.items)}
    return sum(one.values.get(n, DEFAULT) != other.values.get(n, DEFAULT) for n in names)
