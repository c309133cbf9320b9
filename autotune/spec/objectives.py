"""What a study wants of a metric: push it (an objective), or keep it within a bound (a limit)."""

from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from pydantic import field_validator, model_validator

from autotune.metrics import METRICS, Direction, Unit
from autotune.spec.files import StrictModel
from autotune.spec.vocabulary import nearest
from autotune.units import BYTES_PER_GIB, NS_PER_MS, NS_PER_S

_LADDER: Final = {"8k": 8192, "16k": 16384, "32k": 32768}
"""Length of a long prompt by its part of a tag."""

_SHARES: Final = frozenset({
    "prefix_hit_ratio", "revisit_gpu_hit_ratio", "revisit_offload_hit_ratio",
    "kv_usage_peak_ratio", "greedy_agreement_ratio", "needle_recall_ratio",
})  # fmt: skip
"""Ratios that are never over 1."""


class Objective(StrictModel):
    """A metric to push in one direction."""

    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _default_direction(cls, raw: Any) -> Any:
        """A bare tag takes the direction that its declaration says."""
        if isinstance(raw, str):
            raw = {"metric": raw}
        if isinstance(raw, dict) and "direction" not in raw:
            declared = METRICS.get(str(raw.get("metric")))
            if declared is not None and declared.direction is not Direction.NEITHER:
                raw = {**raw, "direction": declared.direction.value}
        return raw

    @field_validator("metric")
    @classmethod
    def _declared(cls, metric: str) -> str:
        return _declared_metric(metric)


class Limit(StrictModel):
    """A metric that must stay within a bound; breaking it makes a trial infeasible.

    `at_most` and `at_least` are in the metric's raw unit (ns, bytes, tokens);
    `at_most_gib` and `at_most_s` are for people.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    at_most_gib: float | None = None
    at_most_s: float | None = None

    @field_validator("metric")
    @classmethod
    def _declared(cls, metric: str) -> str:
        return _declared_metric(metric)

    @model_validator(mode="after")
    def _one_bound_that_can_be_meant(self) -> Self:
        given = [b for b in (self.at_most, self.at_least, self.at_most_gib, self.at_most_s)
                 if b is not None]  # fmt: skip
        if len(given) != 1:
            message = "needs exactly one of at_most, at_least, at_most_gib, at_most_s"
            raise ValueError(message)
        wrong = _wrong_unit(self, METRICS[self.metric].unit) or _wrong_size(self, given[0])
        if wrong is not None:
            raise ValueError(wrong)
        return self

    @property
    def upper(self) -> float | None:
        """Upper bound in raw units, None if this is a lower bound."""
        if self.at_most_gib is not None:
            return self.at_most_gib * BYTES_PER_GIB
        if self.at_most_s is not None:
            return self.at_most_s * NS_PER_S
        return self.at_most


def unmeasured(metric: str, probes: Sequence[str], ladder: Sequence[int]) -> str | None:
    """What a study lacks to give a metric; None if its trials do give it.

    Args:
        metric: Its tag.
        probes: Names of the study's probes.
        ladder: Lengths of its long prompts.
    """
    probe = METRICS[metric].probe
    if probe not in probes:
        return f"the probe {probe!r} to probes"
    if probe == "long_context":
        for part in metric.split("_"):
            length = _LADDER.get(part)
            if length is not None and length not in ladder:
                return f"{length} to workload.long_context_tokens"
    return None


def _declared_metric(metric: str) -> str:
    if metric not in METRICS:
        meant = nearest(metric, METRICS)
        message = f"there is no metric {metric!r}{meant} (`autotune metrics` lists them)"
        raise ValueError(message)
    return metric


def _wrong_unit(limit: Limit, unit: Unit) -> str | None:
    """Why a bound is in a unit that its metric does not have."""
    if limit.at_most_s is not None and unit is not Unit.NS:
        return f"{limit.metric} is in {unit.value}, so at_most_s does not fit; give at_most"
    if limit.at_most_gib is not None and unit is not Unit.BYTES:
        return f"{limit.metric} is in {unit.value}, so at_most_gib does not fit; give at_most"
    return None


def _wrong_size(limit: Limit, given: float) -> str | None:
    """Why a bound cannot be meant: no server keeps it, or every one does.

    Times under 10 us and memory under 1 MiB are what another unit looks like in nanoseconds and
    bytes; times over 11 days are nanoseconds given as seconds.
    """
    unit, upper = METRICS[limit.metric].unit, limit.upper
    if given < 0:
        return f"the bound {given:g} is negative, and {limit.metric} never is"
    if upper is None:
        if limit.metric in _SHARES and given > 1:
            return f"nothing reaches {given:g}: {limit.metric} is a share, 1 at most"
        return None
    if unit is Unit.NS and upper < NS_PER_MS / 100:
        return (f"{upper:g} ns is shorter than any answer; the unit is nanoseconds, "
                f"and at_most_s takes seconds")  # fmt: skip
    if unit is Unit.NS and upper > 1e6 * NS_PER_S:
        return f"{upper / NS_PER_S:g} s is longer than any trial; at_most_s takes seconds"
    if unit is Unit.BYTES and upper < BYTES_PER_GIB / 1024:
        return f"{upper:g} bytes is less than any engine takes; at_most_gib takes GiB"
    if unit is Unit.BYTES and upper > 1e5 * BYTES_PER_GIB:
        return f"{upper / BYTES_PER_GIB:g} GiB is more than any machine has; at_most_gib takes GiB"
    if unit not in {Unit.COUNT, Unit.NS, Unit.BYTES} and upper == 0:
        return f"nothing keeps 0 {unit.value}"
    return None
