"""Figures out of a timeline; None where nothing was read."""

from collections.abc import Iterator, Sequence
from statistics import fmean, median

from autotune.seams.telemetry import Sample


def readings(
    timeline: Sequence[Sample],
    key: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Every reading of a key within a stretch of time, both ends included: (at_ns, value)."""
    for sample in timeline:
        if start_ns is not None and sample.at_ns < start_ns:
            continue
        if end_ns is not None and sample.at_ns > end_ns:
            continue
        value = sample.values.get(key)
        if value is not None:
            yield sample.at_ns, value


def peak(
    timeline: Sequence[Sample],
    key: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> float | None:
    """The largest reading."""
    return max((value for _, value in readings(timeline, key, start_ns, end_ns)), default=None)


def steady(
    timeline: Sequence[Sample],
    key: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> float | None:
    """The median reading: what holds most of the time, whatever the start-up did."""
    values = [value for _, value in readings(timeline, key, start_ns, end_ns)]
    return median(values) if values else None


def mean(
    timeline: Sequence[Sample],
    key: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> float | None:
    """The mean reading."""
    values = [value for _, value in readings(timeline, key, start_ns, end_ns)]
    return fmean(values) if values else None


def growth(
    timeline: Sequence[Sample],
    key: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> float | None:
    """Growth of a counter from the first reading to the last; None with fewer than two.

    A counter that went backwards was reset (an engine or a driver restarted): None.
    """
    values = [value for _, value in readings(timeline, key, start_ns, end_ns)]
    if len(values) < 2 or values[-1] < values[0]:
        return None
    return values[-1] - values[0]
