"""A study to be searched: space, measurements with noise, screening, prior, and the true front."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from autotune.analysis.pareto import is_on_front
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Screening
from autotune.spec.study import StudySpec, study_from
from autotune.study.distributions import enumerate_space
from benchmarks.search.landscape import (
    SPACE,
    Behaviour,
    Physics,
    behave,
    columns_of,
    failure_of,
    random_physics,
    wrong_prior,
)

METRICS = ("output_tokens_per_s", "ttft_8k_ns", "context_capacity_tokens")
NOISE_SD = 0.04
TRANSIENT = 0.015
START_S, PROBES_S, FAILED_S = 75.0, 240.0, 45.0
"""Seconds of GPU time: a start, the probes, a start that fails."""


@dataclass
class Problem:
    """One landscape."""

    truth: Physics
    belief: Physics
    seed: int
    spec: StudySpec = field(init=False)

    def __post_init__(self) -> None:
        limit = {"metric": "ttft_8k_ns", "at_most": self.truth.ttft_limit_s * 1e9}
        self.spec = study_from({"name": "b", "seed": self.seed, "limits": [limit]}, where="bench")

    @classmethod
    def drawn(cls, seed: int, *, efficiency: float = 0.4, missing: int = 1) -> "Problem":
        """A landscape by number; the belief about it is wrong by as much as said."""
        rng = np.random.default_rng(seed)
        while True:
            truth = random_physics(rng)
            belief = wrong_prior(truth, rng, efficiency=efficiency, missing=missing)
            problem = cls(truth=truth, belief=belief, seed=seed)
            if 0.5 < problem.feasible_share < 0.9:
                return problem

    @cached_property
    def everything(self) -> Behaviour:
        """Noise-free behaviour of the whole space."""
        return behave(_all_columns(), self.truth)

    @property
    def feasible_share(self) -> float:
        """Of the space."""
        return float(self.everything.feasible.mean())

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """Losses that count as nothing: in each objective nine tenths of the feasible are better."""
        losses = losses_of(self.everything.values[self.everything.feasible])
        return np.asarray(np.quantile(losses, 0.9, axis=0))

    @cached_property
    def best(self) -> float:
        """Hypervolume of the true front."""
        losses = losses_of(self.everything.values[self.everything.feasible])
        losses = losses[np.all(losses < self.reference, axis=1)]
        return self.volume(losses[moocore.is_nondominated(losses)])

    def volume(self, losses: NDArray[np.float64]) -> float:
        """Hypervolume under the reference, each objective divided by its reference."""
        scale = np.abs(self.reference)
        if not len(losses):
            return 0.0
        return float(moocore.hypervolume(losses / scale, ref=self.reference / scale))

    def true_losses(self, configuration: Configuration) -> NDArray[np.float64] | None:
        """Noise-free losses; None if it is not feasible."""
        seen = behave(columns_of([configuration]), self.truth)
        return losses_of(seen.values)[0] if seen.feasible[0] else None

    def screen(self, configuration: Configuration) -> Screening:
        """A rough memory model's verdict, with a tolerance of half a GiB."""
        seen = behave(columns_of([configuration]), self.belief)
        gpu, host = float(seen.gpu_margin_gib[0]), float(seen.host_margin_gib[0])
        failure = None
        if gpu < -0.5 or host < -2:
            kind = FailureKind.WOULD_NOT_FIT
            failure = Failure(kind=kind, phase="screening", message="", margin_gib=min(gpu, host))
        return Screening(failure=failure, gpu_margin_gib=gpu, host_margin_gib=host)

    def prior(self, configuration: Configuration) -> Mapping[str, float]:
        """What the wrong belief predicts."""
        seen = behave(columns_of([configuration]), self.belief)
        predicted = dict(zip(METRICS, map(float, seen.values[0]), strict=True))
        margins = {
            "gpu_margin_gib": float(seen.gpu_margin_gib[0]),
            "host_margin_gib": float(seen.host_margin_gib[0]),
        }
        return {**predicted, **margins}

    def measure(
        self, number: int, configuration: Configuration, rng: np.random.Generator
    ) -> TrialRecord:
        """Run a trial: noise, limits and failures as a study would record them."""
        failure = failure_of(configuration, self.truth)
        status = OutcomeStatus.MEASURED if failure is None else OutcomeStatus.INFEASIBLE
        metrics: dict[str, float | None] = {}
        limits: tuple[LimitCheck, ...] = ()
        if failure is None and rng.random() < TRANSIENT:
            failure = Failure(kind=FailureKind.DEPLOYER_FAULT, phase="starting", message="luck")
            status = OutcomeStatus.FAILED
        elif failure is None:
            values = behave(columns_of([configuration]), self.truth).values[0]
            noisy = values * np.exp(rng.normal(0, NOISE_SD, 3) * [1, 1, 0.02])
            metrics = dict(zip(METRICS, map(float, noisy), strict=True))
            bound = self.truth.ttft_limit_s * 1e9
            kept = noisy[1] <= bound
            limits = (
                LimitCheck(
                    metric="ttft_8k_ns", bound=bound, value=float(noisy[1]), kept=bool(kept)
                ),
            )
            if not kept:
                status = OutcomeStatus.INFEASIBLE
                failure = Failure(kind=FailureKind.LIMIT_MISSED, phase="limits", message="slow")
        screening = self.screen(configuration)
        return TrialRecord(
            study="b",
            number=number,
            kind=TrialKind.SEARCH,
            configuration=configuration,
            outcome=Outcome(status=status, failure=failure),
            metrics=metrics,
            limits=limits,
            predicted={
                "gpu_margin_gib": screening.gpu_margin_gib or 0.0,
                "host_margin_gib": screening.host_margin_gib or 0.0,
            },
        )


def losses_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Objectives as losses."""
    return values * np.asarray([-1.0, 1.0, -1.0])


def front_rows(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that nothing dominates."""
    return losses[is_on_front(losses)]


_columns: dict[str, NDArray[Any]] = {}


def _all_columns() -> dict[str, NDArray[Any]]:
    """The whole space, once per process."""
    if not _columns:
        _columns.update(columns_of(list(enumerate_space(SPACE))))
    return _columns
