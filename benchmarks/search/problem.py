"""A study to be searched: space, measurements with noise, screening, prior, and the true front."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import moocore
import numpy as np
from numpy.typing import NDArray

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
from autotune.spec.space import SearchSpace
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB

FloatArray = NDArray[np.float64]

METRICS = ("output_tokens_per_s", "ttft_8k_ns", "context_capacity_tokens")
GPU_BYTES = 64 * BYTES_PER_GIB
"""What records say that the card has; only what is left of it matters."""
TRANSIENT = 0.015
"""Share of the trials that fail for no reason of their own."""
START_S, PROBES_S, FAILED_S = 75.0, 240.0, 45.0
"""Seconds of GPU time: a start, the probes, a start that fails."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a configuration does, without noise.

    Attributes:
        values: The objectives, raw; None if nothing can be measured.
        failure: How it ends otherwise.
        headroom_gib: GPU memory left over what must stay free.
    """

    values: tuple[float, float, float] | None = None
    failure: Failure | None = None
    headroom_gib: float | None = None


class Problem(ABC):
    """One landscape.

    Attributes:
        spec: Objectives and limits.
        space: What may be tried.
        seeds: What somebody who knows such engines would try first.
        noise_sd: Relative noise of throughput and latency; context has a fiftieth of it.
    """

    spec: StudySpec
    space: SearchSpace
    seeds: Sequence[Configuration] = ()
    noise_sd: float = 0.04

    @abstractmethod
    def truth(self, configuration: Configuration) -> Truth:
        """What a configuration does."""

    @abstractmethod
    def feasible_values(self) -> FloatArray:
        """Objectives of every feasible configuration of the space."""

    @abstractmethod
    def screen(self, configuration: Configuration) -> Screening:
        """The memory model's verdict."""

    @abstractmethod
    def prior(
        self, configuration: Configuration, belief: str = "wrong"
    ) -> Mapping[str, float] | None:
        """What a model of the engine predicts.

        Args:
            configuration: What is asked about.
            belief: "right", "wrong" (rates off, an effect missing), or "foreign" (another card's).
        """

    @property
    def ttft_limit_ns(self) -> float:
        """The study's limit; infinite without one."""
        return min((x.upper for x in self.spec.limits if x.upper is not None), default=np.inf)

    @cached_property
    def reference(self) -> FloatArray:
        """Losses that count as nothing: nine tenths of what is feasible are better, each time."""
        return np.asarray(np.quantile(losses_of(self.feasible_values()), 0.9, axis=0))

    @cached_property
    def best(self) -> float:
        """Hypervolume of the true front."""
        losses = losses_of(self.feasible_values())
        losses = losses[np.all(losses < self.reference, axis=1)]
        return self.volume(losses[moocore.is_nondominated(losses)])

    def volume(self, losses: FloatArray) -> float:
        """Hypervolume under the reference, each objective divided by its reference."""
        scale = np.abs(self.reference)
        if not len(losses):
            return 0.0
        return float(moocore.hypervolume(losses / scale, ref=self.reference / scale))

    def is_feasible(self, truth: Truth) -> bool:
        """Whether it could be recommended, noise aside."""
        return truth.values is not None and truth.values[1] <= self.ttft_limit_ns

    def true_losses(self, configuration: Configuration) -> FloatArray | None:
        """Noise-free losses; None if it is not feasible."""
        truth = self.truth(configuration)
        return losses_of(np.asarray([truth.values]))[0] if self.is_feasible(truth) else None

    def measure(
        self, number: int, configuration: Configuration, rng: np.random.Generator
    ) -> TrialRecord:
        """Run a trial: noise, limits and failures as a study would record them."""
        truth = self.truth(configuration)
        if truth.values is not None and rng.random() < TRANSIENT:
            luck = Failure(kind=FailureKind.DEPLOYER_FAULT, phase="starting", message="luck")
            return self.record(number, configuration, OutcomeStatus.FAILED, luck)
        if truth.values is None:
            return self.record(number, configuration, OutcomeStatus.INFEASIBLE, truth.failure)
        spread = self.noise_sd * np.asarray([1, 1, 0.02])
        values = np.asarray(truth.values) * np.exp(rng.normal(0, spread))
        metrics = dict(zip(METRICS, map(float, values), strict=True))
        if truth.headroom_gib is not None:
            left = truth.headroom_gib + self.spec.headroom.gpu_gib
            metrics["gpu_memory_peak_bytes"] = GPU_BYTES - left * BYTES_PER_GIB
        if values[1] <= self.ttft_limit_ns:
            return self.record(number, configuration, OutcomeStatus.MEASURED, None, metrics)
        slow = Failure(kind=FailureKind.LIMIT_MISSED, phase="limits", message="slow")
        return self.record(number, configuration, OutcomeStatus.INFEASIBLE, slow, metrics)

    def record(
        self,
        number: int,
        configuration: Configuration,
        status: OutcomeStatus,
        failure: Failure | None,
        metrics: Mapping[str, float] | None = None,
    ) -> TrialRecord:
        """A record of this landscape."""
        screening = self.screen(configuration)
        margins = {
            "gpu_margin_gib": screening.gpu_margin_gib,
            "host_margin_gib": screening.host_margin_gib,
        }
        bound = self.ttft_limit_ns
        value = (metrics or {}).get("ttft_8k_ns")
        check = LimitCheck(
            metric="ttft_8k_ns", bound=bound, value=value, kept=value is not None and value <= bound
        )
        return TrialRecord(
            study=self.spec.name,
            number=number,
            kind=TrialKind.SEARCH,
            configuration=configuration,
            outcome=Outcome(status=status, failure=failure),
            metrics=dict(metrics or {}),
            limits=(check,) if value is not None and np.isfinite(bound) else (),
            predicted={name: m for name, m in margins.items() if m is not None},
            environment={"gpu_memory_bytes": str(GPU_BYTES)},
        )


def losses_of(values: FloatArray) -> FloatArray:
    """Objectives as losses."""
    return values * np.asarray([-1.0, 1.0, -1.0])
