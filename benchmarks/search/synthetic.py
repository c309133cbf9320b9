"""Studies on the synthetic engine of `landscape.py`."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.records import Configuration, Failure, FailureKind
from autotune.seams.engine import Screening
from autotune.spec.study import study_from
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
from benchmarks.search.problem import METRICS, FloatArray, Problem, Truth

SEEDS = tuple(
    Configuration.of(values)
    for values in (
        {"attention_backend": "FLASHINFER"},
        {"kv_cache_dtype": "fp8"},
        {"max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.9},
        {"kv_cache_dtype": "fp8", "attention_backend": "FLASHINFER", "kv_offload_gib": 32},
        {"kv_offload_gib": 32},
    )
)


class SyntheticProblem(Problem):
    """One card, model and engine drawn at random, and a wrong belief about it.

    Args:
        seed: Its number.
        efficiency: The belief's rates are off by up to this share.
        missing: Effects that the belief lacks.
    """

    space = SPACE
    seeds = SEEDS

    def __init__(self, seed: int, *, efficiency: float = 0.4, missing: int = 1) -> None:
        rng = np.random.default_rng(seed)
        while True:
            self.physics = random_physics(rng)
            self.belief = wrong_prior(self.physics, rng, efficiency=efficiency, missing=missing)
            self.everything = behave(all_columns(), self.physics)
            if 0.5 < float(self.everything.feasible.mean()) < 0.9:
                break
        self.foreign = random_physics(np.random.default_rng((seed, 7)))
        limit = {"metric": "ttft_8k_ns", "at_most": self.physics.ttft_limit_s * 1e9}
        self.spec = study_from({"name": "b", "seed": seed, "limits": [limit]}, where="bench")

    def feasible_values(self) -> FloatArray:
        """Of the whole space."""
        return self._values

    @cached_property
    def _values(self) -> FloatArray:
        return self.everything.values[self.everything.feasible]

    def truth(self, configuration: Configuration) -> Truth:
        """The engine's arithmetic."""
        failure = failure_of(configuration, self.physics)
        if failure is not None:
            return Truth(failure=failure)
        seen = _behave(configuration, self.physics)
        one, two, three = map(float, seen.values[0])
        return Truth(values=(one, two, three), headroom_gib=float(seen.headroom_gib[0]))

    def screen(self, configuration: Configuration) -> Screening:
        """A rough memory model's verdict, with a tolerance of half a GiB."""
        seen = _behave(configuration, self.belief)
        kv, host = float(seen.kv_margin_gib[0]), float(seen.host_margin_gib[0])
        failure = None
        if kv < -0.5 or host < -2:
            kind = FailureKind.WOULD_NOT_FIT
            failure = Failure(kind=kind, phase="screening", message="", margin_gib=min(kv, host))
        return Screening(failure=failure, gpu_margin_gib=kv, host_margin_gib=host)

    def prior(self, configuration: Configuration, belief: str = "wrong") -> Mapping[str, float]:
        """What one of the beliefs predicts."""
        beliefs = {"right": self.physics, "wrong": self.belief, "foreign": self.foreign}
        seen = _behave(configuration, beliefs[belief])
        predicted = dict(zip(METRICS, map(float, seen.values[0]), strict=True))
        margins = {
            "gpu_margin_gib": float(seen.kv_margin_gib[0]),
            "gpu_headroom_gib": float(seen.headroom_gib[0]),
            "host_margin_gib": float(seen.host_margin_gib[0]),
        }
        return {**predicted, **margins}


def _behave(configuration: Configuration, physics: Physics) -> Behaviour:
    return behave(columns_of([configuration]), physics)


_COLUMNS = Path(__file__).resolve().parents[2] / ".scratch" / "search" / "synthetic.npz"
_columns: dict[str, NDArray[Any]] = {}


def all_columns() -> dict[str, NDArray[Any]]:
    """The whole space: from disk, or walked through once and kept there."""
    if not _columns:
        if not _COLUMNS.exists():
            _COLUMNS.parent.mkdir(parents=True, exist_ok=True)
            np.savez(_COLUMNS, **columns_of(list(enumerate_space(SPACE))))
        with np.load(_COLUMNS) as kept:
            _columns.update(kept)
    return _columns
