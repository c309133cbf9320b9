"""Optuna's own Gaussian process, over a space made flat; it needs torch.

Parameters that are not in every complete trial are drawn at random by it, so conditional ones are
always asked for and ignored where they do not apply. It learns from complete trials alone, and
from the violated constraints of such: what failed is completed with invented values.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, QMCSampler
from optuna.trial import TrialState

from autotune.records import Configuration, Scalar
from autotune.spec.parameters import DEFAULT
from autotune.study.distributions import as_configuration, distributions_of
from autotune.study.outcomes import Told
from autotune.study.storage import quiet
from benchmarks.search.problem import Problem

Imputed = Literal["never", "median", "worst"]
"""What a failed trial is completed with; never: it is told as FAIL."""
ENGINE_DEFAULTS: Final[Mapping[str, Scalar]] = {"gpu_memory_utilization": 0.92, "kv_offload_gib": 0}
"""Of both landscapes, for parameters without a choice `default`; conditional ones have one."""


class FlatGaussianProcess:
    """Optuna's `GPSampler`, asked in a study that is made anew for each proposal.

    Args:
        sobol: Space-filling trials before it speaks.
    """

    expected_gain = None

    def __init__(self, problem: Problem, imputed: Imputed, *, sobol: int = 0) -> None:
        self._problem, self._imputed, self._sobol = problem, imputed, sobol
        self._distributions = distributions_of(problem.space)
        self._directions = [o.direction for o in problem.spec.objectives]
        self._trials: list[tuple[dict[str, Scalar], Told]] = []
        self._asked: dict[Configuration, dict[str, Scalar]] = {}
        seed = problem.spec.seed
        with quiet():
            self._main = optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            self._start = QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)

    def propose(self, seen: Collection[Configuration]) -> Configuration | None:
        """The first of a few that is allowed and new."""
        sampler = self._start if len(self._trials) < self._sobol else self._main
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._ask(sampler, seen) or self._ask(
                optuna.samplers.RandomSampler(seed=len(self._trials)), seen
            )

    def learn(self, configuration: Configuration, told: Told) -> None:
        """Keep it until the next proposal."""
        flat = self._asked.pop(configuration, None) or self._flat(configuration)
        self._trials.append((flat, told))

    def _flat(self, configuration: Configuration) -> dict[str, Scalar]:
        """Every parameter of a trial that was not proposed here."""
        values = configuration.values
        flat: dict[str, Scalar] = {}
        for parameter in self._problem.space.in_order():
            grid = parameter.grid()
            absent = DEFAULT if DEFAULT in grid else ENGINE_DEFAULTS.get(parameter.name, grid[0])
            flat[parameter.name] = values.get(parameter.name, absent)
        return flat

    def _ask(self, sampler: BaseSampler, seen: Collection[Configuration]) -> Configuration | None:
        space = self._problem.space
        study = self._study(sampler)
        for _ in range(16):
            trial = study.ask(self._distributions)
            study.tell(trial, state=TrialState.FAIL)
            configuration = as_configuration(space, trial.params)
            if configuration not in seen and space.refusal(configuration) is None:
                self._asked[configuration] = dict(trial.params)
                return configuration
        return None

    def _study(self, sampler: BaseSampler) -> optuna.Study:
        study = optuna.create_study(directions=self._directions, sampler=sampler)
        measured = np.asarray([told.values for _, told in self._trials if told.values is not None])
        for flat, told in self._trials:
            values = told.values or self._invented(measured)
            if told.state is TrialState.FAIL or values is None:
                continue
            study.add_trial(
                optuna.trial.create_trial(
                    values=list(values),
                    params=flat,
                    distributions=self._distributions,
                    constraints=dict(told.constraints),
                )
            )
        return study

    def _invented(self, measured: np.ndarray) -> Sequence[float] | None:
        if self._imputed == "never" or not len(measured):
            return None
        if self._imputed == "median":
            return [float(x) for x in np.median(measured, axis=0)]
        best_is_high = [direction == "maximize" for direction in self._directions]
        return [float(x) for x in
                np.where(best_is_high, measured.min(axis=0), measured.max(axis=0))]  # fmt: skip
