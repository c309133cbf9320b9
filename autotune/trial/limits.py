"""Limits: metrics that must stay within a bound, and memory that must stay free."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from autotune.metrics import METRICS, Unit
from autotune.records import Failure, FailureKind, LimitCheck
from autotune.seams.telemetry import Hardware, Sample
from autotune.spec.study import HeadroomModel, Limit
from autotune.telemetry.watchdog import Bounds, breach
from autotune.units import bytes_from_gib, gib_from_bytes, s_from_ns


def memory_bounds(
    headroom: HeadroomModel, hardware: Hardware, *, before: Sample | None, with_gpu: bool
) -> Bounds:
    """What the machine has, less what shall stay free on it.

    Args:
        headroom: Of the study.
        hardware: Of this machine.
        before: A look before the trial: swap in use then is nobody's fault.
        with_gpu: Whether the GPU's bound counts; without it only the host is protected.
    """
    bounds = Bounds.of(
        hardware,
        gpu_headroom_bytes=bytes_from_gib(headroom.gpu_gib),
        host_reserve_bytes=bytes_from_gib(headroom.host_gib),
        before=before,
    )
    return bounds if with_gpu else replace(bounds, gpu_used_max_bytes=None)


def no_room(sample: Sample, headroom: HeadroomModel, hardware: Hardware) -> str | None:
    """Why the host's reserve could not hold even before a start; None if it does.

    Pressure passes, and what is in use on the GPU is a trial's finding.
    """
    bounds = memory_bounds(headroom, hardware, before=None, with_gpu=False)
    return breach(sample, replace(bounds, pressure_max_ratio=None))


def memory_breach(sample: Sample, bounds: Bounds, *, phase: str) -> Failure | None:
    """Why a trial must end at once by what the machine looks like; None if it may go on."""
    message = breach(sample, bounds)
    if message is None:
        return None
    needed, available = _amounts(sample, bounds)
    return Failure(
        kind=FailureKind.MEMORY_LIMIT,
        phase=phase,
        message=message,
        evidence=tuple(f"{key}={value:.0f}" for key, value in sample.values.items()
                       if value is not None and "memory" in key and value > 1),
        needed_gib=needed,
        available_gib=available,
        margin_gib=None if needed is None or available is None else available - needed,
    )  # fmt: skip


def _amounts(sample: Sample, bounds: Bounds) -> tuple[float | None, float | None]:
    """GiB in use and GiB allowed, of the bound that is broken, where it is one of memory."""
    gpu, most = sample.values.get("gpu_memory_used_bytes"), bounds.gpu_used_max_bytes
    if gpu is not None and most is not None and gpu > most:
        return gib_from_bytes(gpu), gib_from_bytes(most)
    used, total = (sample.values.get(f"host_memory_{k}_bytes") for k in ("used", "total"))
    least = bounds.host_available_min_bytes
    if used is not None and total is not None and least is not None and total - used < least:
        return gib_from_bytes(used), gib_from_bytes(total - least)
    return None, None


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


def in_words(tag: str, value: float | None) -> str:
    """A raw value for people: seconds and GiB, else the number with its unit."""
    if value is None:
        return "not measured"
    unit = METRICS[tag].unit
    if unit is Unit.NS:
        return f"{s_from_ns(value):.3g} s"
    if unit is Unit.BYTES:
        return f"{gib_from_bytes(value):.2f} GiB"
    return f"{value:,.4g}" if unit in {Unit.RATIO, Unit.COUNT} else f"{value:,.4g} {unit.value}"


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
            tag = check.metric
            message = f"{tag} is {in_words(tag, check.value)}, the limit is "
            message += in_words(tag, check.bound)
        elif check.kept is None and final:
            message = f"{check.metric} could not be measured, so its limit is not known to be kept"
        else:
            continue
        return Failure(kind=FailureKind.LIMIT_MISSED, phase=phase, message=message)
    return None
