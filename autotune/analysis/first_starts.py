"""First starts, which compile: what they leave less for the KV cache is nothing of a configuration.

vLLM counts in its memory profile what compiling took, so a first start has a smaller KV cache than
every later one, and is slower where the cache binds. Measured on 11 GiB of an H100 with the shape
of Qwen2.5-7B-Instruct-AWQ, vLLM 0.26.0: 1.12 GiB against 1.81, 20,880 tokens against 33,968, and
4,015 tokens/s against 4,850 (docs/results, 2026-11-27). What is served starts again and finds its
graphs.

So where a configuration was started both ways, its first start tells nothing but its own time. One
that was started only so is given the context capacity of a later start, by the ratio of the
baseline's two: both lose about the same bytes. Its speeds stay as measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

from autotune.analysis.costs import is_startup
from autotune.analysis.measurements import PROVING, baseline_of, logs_of
from autotune.metrics import METRICS
from autotune.records import Configuration, TrialRecord

CAPACITY: Final = "context_capacity_tokens"
COMPILATION: Final = "startup_compile_ns"
_LESS: Final = math.log(1.02)
"""Difference in capacity from which a first start is another server: two later ones agree to the
block."""
_TIMES: Final = 2.0
"""Compiling takes so many times as long as loading what was compiled, and more (five, measured)."""

_GIVEN: Final = f"first start, which compiles: {METRICS[CAPACITY].title} is given as of a later one"
"""Note of a trial whose speeds are those of a smaller KV cache than what is served has."""


def as_later_starts(records: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The records with the figures of servers that found their graphs compiled.

    Args:
        records: Of one study; one configuration has one name.
    """
    superseded = first_starts_of(records)
    if not superseded:
        return tuple(records)
    groups = _by_configuration(records)
    baseline = baseline_of(records)
    same = [] if baseline is None else groups.get(baseline.configuration, [])
    shared = _Shared([r for r in same if r.number in superseded], same)
    alone = {c for c, group in groups.items() if not superseded & {r.number for r in group}}
    return tuple(
        _without_figures(r)
        if r.number in superseded
        else shared.given(r)
        if r.configuration in alone
        else r
        for r in records
    )


def first_starts_of(records: Sequence[TrialRecord]) -> frozenset[int]:
    """Numbers of the first starts that a later one of the same configuration takes the place of."""
    groups = _by_configuration(records).values()
    return frozenset(r.number for group in groups for r in _first_starts(group))


def is_first_only(records: Sequence[TrialRecord]) -> bool:
    """Whether a configuration was started once, and that start compiled: its speeds are too low.

    Args:
        records: All of one configuration, made comparable.
    """
    return len(records) == 1 and _GIVEN in records[0].notes


def _by_configuration(records: Sequence[TrialRecord]) -> dict[Configuration, list[TrialRecord]]:
    groups: dict[Configuration, list[TrialRecord]] = {}
    for record in records:
        if _tells(record):
            groups.setdefault(record.configuration, []).append(record)
    return groups


def _first_starts(group: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those of one configuration that compiled and have less KV cache than a later one."""
    most = max(logs_of(group, CAPACITY))
    quickest = min(logs_of([r for r in group if _is_near(r, most)], COMPILATION))
    return [
        r
        for r in group
        if not _is_near(r, most) and logs_of([r], COMPILATION)[0] - quickest > math.log(_TIMES)
    ]


def _tells(record: TrialRecord) -> bool:
    return bool(record.metrics.get(COMPILATION) and record.metrics.get(CAPACITY))


def _is_near(record: TrialRecord, most: float) -> bool:
    return most - logs_of([record], CAPACITY)[0] <= _LESS


class _Shared:
    """What the baseline's first starts lost, for configurations that have nothing else.

    Args:
        first: First starts of the baseline; none leaves everything as it is.
        every: All its starts.
    """

    def __init__(self, first: Sequence[TrialRecord], every: Sequence[TrialRecord]) -> None:
        later = [r for r in every if r not in first]
        self._ratio = self._compiles = math.nan
        if first and later:
            self._ratio = math.exp(
                fmean(logs_of(later, CAPACITY)) - fmean(logs_of(first, CAPACITY))
            )
            between = (fmean(logs_of(first, COMPILATION)) + fmean(logs_of(later, COMPILATION))) / 2
            self._compiles = math.exp(between)

    def given(self, record: TrialRecord) -> TrialRecord:
        """A trial whose start compiled, with the capacity of a later one; any other as it is."""
        took = record.metrics.get(COMPILATION)
        if took is None or not took > self._compiles:
            return record
        capacity = record.metrics[CAPACITY]
        scaled = None if capacity is None else capacity * self._ratio
        return replace(
            record, metrics={**record.metrics, CAPACITY: scaled}, notes=(*record.notes, _GIVEN)
        )


def _without_figures(record: TrialRecord) -> TrialRecord:
    """Of its start alone: the rest tells of a smaller KV cache than what is served has."""
    metrics = {
        tag: value if tag in METRICS and is_startup(METRICS[tag]) else None
        for tag, value in record.metrics.items()
    }
    note = "first start, which compiles and leaves less for the KV cache: later starts count"
    return replace(record, metrics=metrics, notes=(*record.notes, note))


def first_start_text(records: Sequence[TrialRecord], configuration: Configuration) -> str:
    """What the first start of a configuration lacks, a clause; empty where it was not measured.

    Args:
        records: As measured.
        configuration: What is to be served.
    """
    group = [r for r in records if r.configuration == configuration and _tells(r)]
    if not group or not (first := _first_starts(group)):
        return ""
    less = min(math.exp(log) for log in logs_of(first, CAPACITY))
    most = max(math.exp(log) for log in logs_of(group, CAPACITY))
    return (
        f"its first start compiles and holds {less:,.0f} tokens of context, every later one "
        f"{most:,.0f}: start it once before it is used"
    )


def search_alone(
    records: Sequence[TrialRecord],
    comparable: Callable[[Sequence[TrialRecord]], Sequence[TrialRecord]],
) -> Sequence[TrialRecord] | None:
    """The search's trials, made comparable among themselves; None where that changes nothing.

    Where a proof has taken the place of the search's first start of a configuration, the search
    has lost the trial by which that was picked.

    Args:
        records: As measured.
        comparable: Makes trials comparable.
    """
    if all(r is given for r, given in zip(records, as_later_starts(records), strict=True)):
        return None
    return comparable([r for r in records if r.kind not in PROVING])
