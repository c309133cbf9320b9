"""What failed in a study, why, by how much, and with which settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.records import FailureKind, OutcomeStatus, TrialRecord
from autotune.report.quantities import DASH, duration_text, phase_text
from autotune.report.table import Cell, Column, Table, Tone
from autotune.spec.space import DEFAULT


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Trials that failed alike.

    Attributes:
        margins_gib: By how much each was off, where that is known; negative fell short.
        seconds: Time that they took.
        example: The message of the last of them.
    """

    kind: FailureKind
    phases: tuple[str, ...]
    numbers: tuple[int, ...]
    margins_gib: tuple[float, ...]
    seconds: float
    example: str


def failure_groups(records: Sequence[TrialRecord]) -> tuple[FailureGroup, ...]:
    """Failures by kind, the commonest first."""
    by_kind: dict[FailureKind, list[TrialRecord]] = {}
    for record in records:
        if record.outcome.failure is not None:
            by_kind.setdefault(record.outcome.failure.kind, []).append(record)
    groups = [_group(kind, found) for kind, found in by_kind.items()]
    return tuple(sorted(groups, key=lambda g: (-len(g.numbers), g.kind)))


def _group(kind: FailureKind, records: Sequence[TrialRecord]) -> FailureGroup:
    failures = [r.outcome.failure for r in records if r.outcome.failure is not None]
    return FailureGroup(
        kind=kind,
        phases=tuple(dict.fromkeys(f.phase for f in failures)),
        numbers=tuple(r.number for r in records),
        margins_gib=tuple(f.margin_gib for f in failures if f.margin_gib is not None),
        seconds=sum(p.duration_ns for r in records for p in r.phases) / 1e9,
        example=failures[-1].message,
    )


@dataclass(frozen=True, kw_only=True)
class OutcomeShare:
    """How the trials with one value of a parameter ended."""

    value: str
    total: int
    counts: Mapping[str, int]


def failure_table(groups: Sequence[FailureGroup], *, simulated: bool) -> Table:
    """What failed, why, and by how much."""
    rows = tuple(
        (
            Cell.of(group.kind.value.replace("_", " "), Tone.STRONG),
            Cell.of(len(group.numbers)),
            Cell.of(", ".join(map(phase_text, group.phases))),
            Cell.of(_margins(group.margins_gib)),
            Cell.of(duration_text(group.seconds)),
            Cell.of(group.example),
        )
        for group in groups
    )
    return Table(
        title="Failures",
        columns=(
            Column(head="kind"),
            Column(head="trials", align="right"),
            Column(head="where"),
            Column(head="margin", align="right"),
            Column(head="time spent", align="right"),
            Column(head="for example", fold=True),
        ),
        rows=rows,
        simulated=simulated,
    )


def _margins(margins_gib: Sequence[float]) -> str:
    short = sorted(-m for m in margins_gib if m < 0)
    if not short:
        return DASH
    if short[-1] - short[0] < 0.005:
        return f"{short[0]:.2f} GiB short"
    return f"{short[0]:.2f} to {short[-1]:.2f} GiB short"


def outcome_map(
    records: Sequence[TrialRecord], parameters: Sequence[str]
) -> dict[str, tuple[OutcomeShare, ...]]:
    """Parameter to how the trials with each of its values ended; those that failed somewhere."""
    if not failure_groups(records):
        return {}
    shares = {name: _shares(records, name) for name in parameters}
    return dict(sorted(shares.items(), key=lambda item: -_telling(item[1])))


def _telling(shares: Sequence[OutcomeShare]) -> float:
    """How much more often trials fail with some values than with others.

    The difference of the extreme shares; a value counts for less, the rarer it is.
    """
    worst = [(s.total - s.counts[OutcomeStatus.MEASURED.value] + 0.5) / (s.total + 1)
             for s in shares]  # fmt: skip
    return max(worst) - min(worst)


def _shares(records: Sequence[TrialRecord], name: str) -> tuple[OutcomeShare, ...]:
    counts: dict[object, Counter[str]] = {}
    for record in records:
        value = record.configuration.get(name)
        key = DEFAULT if value is None else value
        counts.setdefault(key, Counter())[record.outcome.status.value] += 1
    return tuple(
        OutcomeShare(
            value=str(value),
            total=sum(counts[value].values()),
            counts={status.value: counts[value][status.value] for status in OutcomeStatus},
        )
        for value in sorted(counts, key=value_order)
    )


def value_order(value: object) -> tuple[int, float, str]:
    """The engine's default first, then numbers, then words."""
    if value == DEFAULT:
        return 0, 0.0, ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), ""
    return 2, 0.0, str(value)
