"""Where the next configuration comes from: one protocol, Optuna's samplers behind it.

Optuna's samplers are asked in a study in memory that holds what the ledger holds; what they
propose is enqueued in the ledger only if it is new, allowed and worth a start. So duplicates and
refused combinations teach the sampler and leave no trace among the trials.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from autotune.errors import UsageError
from autotune.records import Configuration
from autotune.spec.space import Given, SearchSpace
from autotune.spec.study import StudySpec
from autotune.study.distributions import (
    distributions_of,
    enumerate_space,
    raw_values,
    suggest_all,
)
from autotune.study.outcomes import START, VIOLATED, Told, constraint_keys
from autotune.study.storage import quiet
from autotune.study.surrogate.model import Prior
from autotune.study.surrogate.proposer import SurrogateProposer

SOBOL_START: Final = 10
"""Space-filling trials before TPE speaks; measured: 8 to 16 help, see docs/search.md."""
_TRIES: Final = 64


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known before the first trial; only `surrogate` uses it.

    Attributes:
        prior: A model of the engine.
        hints: Configurations worth a look.
    """

    prior: Prior | None = None
    hints: Sequence[Configuration] = ()


NOTHING: Final = Known()


class Proposer(Protocol):
    """Proposes configurations and learns from trials."""

    @property
    def expected_gain(self) -> float | None:
        """What the last proposal promises: share of the front's hypervolume; None if unknown."""
        ...

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """A configuration that is allowed and not among those seen; None if none was found."""
        ...

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Take in a finished trial."""
        ...


@runtime_checkable
class Completes(Protocol):
    """A proposer that can be told what its proposals have that do not say otherwise."""

    def give(self, given: Given) -> None:
        """From now on."""
        ...


class OptunaProposer:
    """One of Optuna's samplers, asked in memory.

    Args:
        start: A space-filling sampler for the first `start_trials` trials.
    """

    def __init__(
        self,
        spec: StudySpec,
        space: SearchSpace,
        sampler: BaseSampler,
        *,
        start: BaseSampler | None = None,
        start_trials: int = 0,
    ) -> None:
        self._space = space
        self._distributions = distributions_of(space)
        self._main, self._start, self._start_trials = sampler, start, start_trials
        self._refused = {**dict.fromkeys(constraint_keys(spec), 0.0), START: VIOLATED}
        self._learnt = 0
        with quiet():
            self._study = optuna.create_study(
                directions=[o.direction for o in spec.objectives], sampler=sampler
            )

    @property
    def expected_gain(self) -> None:
        """Optuna's samplers promise nothing."""
        return None

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """Ask until something new and allowed comes; then walk through what is left."""
        use_start = self._start is not None and self._learnt < self._start_trials
        self._study.sampler = self._start if use_start and self._start else self._main
        for _ in range(_TRIES):
            configuration, trial = self._ask()
            if self._space.refusal(configuration) is not None:
                for key, value in self._refused.items():
                    trial.set_constraint(key, value)
                self._study.tell(trial, state=TrialState.PRUNED)
                continue
            self._study.tell(trial, state=TrialState.FAIL)  # not run yet: `learn` adds it
            if configuration not in seen:
                return configuration
        return self._any_left(seen)

    def give(self, given: Given) -> None:
        """Complete every proposal from now on."""
        self._space = replace(self._space, given=given)

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Add a finished trial to the study in memory."""
        self._add(configuration, told)

    def _add(
        self,
        configuration: Configuration,
        told: Told,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        params = raw_values(self._space, configuration)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=told.state,
                values=None if told.values is None else list(told.values),
                params=params,
                distributions={name: self._distributions[name] for name in params},
                constraints=dict(told.constraints),
                system_attrs=dict(attributes or {}),
            )
        )
        self._learnt += 1

    def _ask(self) -> tuple[Configuration, optuna.Trial]:
        with quiet():
            trial = self._study.ask()
            return suggest_all(trial, self._space), trial

    def _any_left(self, seen: Collection[Configuration]) -> Configuration | None:
        """Random draws first, for big spaces; a small one is walked through to its end."""
        sampler = self._study.sampler
        self._study.sampler = RandomSampler(seed=self._learnt)
        try:
            for _ in range(_TRIES):
                configuration, trial = self._ask()
                self._study.tell(trial, state=TrialState.FAIL)
                if configuration not in seen and self._space.refusal(configuration) is None:
                    return configuration
        finally:
            self._study.sampler = sampler
        return next((c for c in enumerate_space(self._space) if c not in seen), None)


class GeneticProposer(OptunaProposer):
    """One of Optuna's genetic samplers (5.0.0, `samplers/_ga/_base.py`).

    They write a trial's generation on it when they are asked for it, and breed from complete
    trials of the generation before. A trial that is added from outside has none: without one all
    of them are as good as random search. So each trial takes the generation that one asked for
    now is given. What failed is complete with a violated constraint: against such a trial values
    are not compared, and it is given the worst so far.
    """

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Add a finished trial to the generation that is being filled."""
        if told.state is TrialState.FAIL:
            return
        if told.state is TrialState.PRUNED and any(v > 0 for v in told.constraints.values()):
            told = replace(told, state=TrialState.COMPLETE, values=self._worst())
        _, trial = self._ask()  # a generation is written when the first value is drawn
        asked = self._study.tell(trial, state=TrialState.FAIL)
        self._add(configuration, told, asked.system_attrs)

    def _worst(self) -> tuple[float, ...]:
        """Of each objective; 0 before anything was measured."""
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        rows = [trial.values for trial in complete] or [[0.0] * len(self._study.directions)]
        columns = zip(*rows, strict=True)
        return tuple(
            min(column) if direction is StudyDirection.MAXIMIZE else max(column)
            for column, direction in zip(columns, self._study.directions, strict=True)
        )


def _random(spec: StudySpec, space: SearchSpace, _known: Known) -> Proposer:
    return OptunaProposer(spec, space, RandomSampler(seed=spec.seed))


def _qmc(spec: StudySpec, space: SearchSpace, _known: Known) -> Proposer:
    with quiet():
        sampler = QMCSampler(scramble=True, seed=spec.seed, warn_independent_sampling=False)
    return OptunaProposer(spec, space, sampler)


def _tpe_default(spec: StudySpec, space: SearchSpace, _known: Known) -> Proposer:
    return OptunaProposer(spec, space, TPESampler(seed=spec.seed))


def _tpe(spec: StudySpec, space: SearchSpace, _known: Known) -> Proposer:
    """Joint TPE after a Sobol start."""
    with quiet():
        main = TPESampler(
            multivariate=True,
            group=True,
            n_startup_trials=SOBOL_START,
            seed=spec.seed,
        )
        start = QMCSampler(scramble=True, seed=spec.seed, warn_independent_sampling=False)
    return OptunaProposer(spec, space, main, start=start, start_trials=SOBOL_START)


def _nsga2(spec: StudySpec, space: SearchSpace, _known: Known) -> Proposer:
    return GeneticProposer(spec, space, NSGAIISampler(population_size=10, seed=spec.seed))


def _surrogate(spec: StudySpec, space: SearchSpace, known: Known) -> Proposer:
    return SurrogateProposer(spec, space, known.prior, known.hints)


Maker = Callable[[StudySpec, SearchSpace, Known], Proposer]

SAMPLERS: Final[Mapping[str, Maker]] = {
    "surrogate": _surrogate,
    "tpe": _tpe,
    "tpe-default": _tpe_default,
    "random": _random,
    "qmc": _qmc,
    "nsga2": _nsga2,
}


def proposer_for(spec: StudySpec, space: SearchSpace, known: Known = NOTHING) -> Proposer:
    """What proposes a study's configurations, by its `search.sampler`.

    Args:
        spec: The study.
        space: What may be proposed: the space that the engine at hand leaves.
        known: What the search may start from.
    """
    return proposer_named(spec.search.sampler, spec, space, known)


def proposer_named(
    name: str, spec: StudySpec, space: SearchSpace, known: Known = NOTHING
) -> Proposer:
    """The proposer of a name.

    Raises:
        UsageError: If there is none.
    """
    if name not in SAMPLERS:
        message = f"there is no sampler {name!r}"
        raise UsageError(message, hint=f"Known ones: {', '.join(sorted(SAMPLERS))}.")
    return SAMPLERS[name](spec, space, known)
