"""Limits: metrics that must stay within a bound, and memory that must stay free."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autotune.records import Failure, FailureKind, LimitCheck
from autotune.seams.telemetry import Hardware, Sample
from autotune.spec.study import HeadroomModel, Limit
from autotune.units import BYTES_PER_GIB, bytes_from_gib, gib_from_bytes


@dataclass(frozen=True, kw_only=True)
class MemoryBounds:
    """Most memory that may be in use while a trial runs, in bytes; None where unknown."""

    gpu_bytes: int | None = None
    host_bytes: int | None = None

    @classmethod
    def of(cls, headroom: HeadroomModel, hardware: Hardware) -> "MemoryBounds":
        """What the machine has, less what shall stay free on it."""
        gpu, host = hardware.gpu, hardware.host_memory_bytes
        return cls(
            gpu_bytes=None if gpu is None else gpu.memory_bytes - bytes_from_gib(headroom.gpu_gib),
            host_bytes=host - bytes_from_gib(headroom.host_gib) if host > 0 else None,
        )

    def without_gpu(self) -> "MemoryBounds":
        """Only the host's bound: what protects the machine, not what rates a configuration."""
        return MemoryBounds(host_bytes=self.host_bytes)


def memory_breach(sample: Sample, bounds: MemoryBounds, *, phase: str) -> Failure | None:
    """Why a trial must end at once by what the machine looks like; None if it may go on."""
    for what, key, bound in (
        ("GPU", "gpu_memory_used_bytes", bounds.gpu_bytes),
        ("host", "host_memory_used_bytes", bounds.host_bytes),
    ):
        used = sample.values.get(key)
        if used is None or bound is None or used <= bound:
            continue
        return Failure(
            kind=FailureKind.MEMORY_LIMIT,
            phase=phase,
            message=f"{what} memory in use reached {used / BYTES_PER_GIB:.2f} GiB, "
            f"over the limit of {bound / BYTES_PER_GIB:.2f} GiB",
            evidence=(f"{key}={used:.0f} bound={bound}",),
            needed_gib=gib_from_bytes(used),
            available_gib=gib_from_bytes(bound),
            margin_gib=gib_from_bytes(bound - used),
        )
    return None


def check_limits(
    limits: Iterable[Limit], metrics: Mapping[str, float | None]
) -> tuple[LimitCheck, ...]:
    """Hold metrics against their bounds; `kept` is None where nothing was measured."""
    checks = []
    for limit in limits:
        value = metrics.get(limit.metric)
        upper = limit.upper
        bound = upper if upper is not None else limit.at_least
        if bound is None:  # the study file's own check excludes it
            raise AssertionError(limit.metric)
        kept = None if value is None else (value <= bound if upper is not None else value >= bound)
        checks.append(LimitCheck(metric=limit.metric, bound=bound, value=value, kept=kept))
    return tuple(checks)


def missed(checks: Iterable[LimitCheck], *, phase: str, final: bool) -> Failure | None:
    """The first limit that is missed.

    Args:
        checks: Of the metrics measured so far.
        phase: Where the trial is.
        final: Whether all probes have run: a limit that could not be measured then counts as
            missed, for nobody knows whether it is kept.
    """
    for check in checks:
        if check.kept is False:
            message = f"{check.metric} is {check.value:g}, the limit is {check.bound:g}"
        elif check.kept is None and final:
            message = f"{check.metric} could not be measured, so its limit is not known to be kept"
        else:
            continue
        return Failure(kind=FailureKind.LIMIT_MISSED, phase=phase, message=message)
    return None
