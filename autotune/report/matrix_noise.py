"""Which cells of a matrix ran the same, and so how much its figures move when nothing changes.

A cell is told by what its server said that it ran with: one that asks for the engine's defaults by
name runs the same as one that asks for nothing. Such cells are repeats: what they differ by is
noise, and of their start-ups the later ones find compiled what the first one compiled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autotune.analysis.costs import is_startup
from autotune.analysis.measurements import logs_of
from autotune.analysis.noise import Noise, pooled
from autotune.metrics import METRICS
from autotune.records import Scalar, TrialRecord
from autotune.report.matrix_rows import MatrixRow
from autotune.report.tables import is_counted, is_noise

_HERE = ("engine_release", "image_digest", "image", "gpu", "gpu_driver", "model")

NEAR: Final = "\N{ALMOST EQUAL TO}"
"""Before a figure that is within the noise of the reference's."""

Ran = tuple[tuple[str, Scalar | str], ...]


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """The trials of a matrix, by what their servers ran with.

    Attributes:
        groups: Trials that ran the same, in the order of their numbers.
    """

    groups: tuple[tuple[TrialRecord, ...], ...]

    @classmethod
    def of(cls, records: Sequence[TrialRecord]) -> "Repeats":
        """Group trials; one whose server nobody read back stands alone."""
        groups: dict[object, list[TrialRecord]] = {}
        for record in sorted(records, key=lambda r: r.number):
            groups.setdefault(_ran_with(record) or record.number, []).append(record)
        return cls(groups=tuple(map(tuple, groups.values())))

    def first_of(self, record: TrialRecord) -> TrialRecord | None:
        """The trial that started the same settings before it; None for a first start."""
        group = next((g for g in self.groups if any(r is record for r in g)), ())
        started = [r for r in group if r.metrics.get("startup_ns") is not None]
        return started[0] if started and started[0].number < record.number else None

    def noise(self, tag: str) -> Noise | None:
        """Noise of a metric; None where no two trials that ran the same have it."""
        measured = ([r for r in group if r.is_measured] for group in self.groups)
        found = pooled({i: logs_of(group, tag) for i, group in enumerate(measured)})
        return found if found.repeats else None

    def is_noise(self, tag: str, value: float | None, reference: float | None) -> bool:
        """Whether two trials differ by no more than two that ran the same may."""
        if value is None or reference is None or tag not in METRICS or is_counted(tag):
            return False
        noise = self.noise(tag)
        return noise is not None and is_noise(value, reference, noise.floor)

    @property
    def repeated(self) -> tuple[tuple[TrialRecord, ...], ...]:
        """Groups of more than one measured trial."""
        measured = (tuple(r for r in group if r.is_measured) for group in self.groups)
        return tuple(group for group in measured if len(group) > 1)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a matrix's figures may be held against.

    Attributes:
        reference: The row that the others are compared with, if there is one.
    """

    repeats: Repeats
    reference: MatrixRow | None

    @classmethod
    def of(cls, rows: Sequence[MatrixRow]) -> "Compared":
        """Of every trial that the rows hold."""
        records = [r for row in rows for r in (*row.earlier, row.record) if r is not None]
        reference = next((row for row in rows if row.cell.reference), None)
        return cls(repeats=Repeats.of(records), reference=reference)

    def is_noise(self, row: MatrixRow, test: int, tag: str) -> bool:
        """Whether a figure is within the noise of the reference's."""
        if self.reference is None or row.name == self.reference.name or is_startup(METRICS[tag]):
            return False
        theirs = self.reference.value(test, tag)
        return self.repeats.is_noise(tag, row.value(test, tag), theirs)

    def start(self, row: MatrixRow) -> str:
        """Whether a row's start-up is that of a first or a later start; empty without one."""
        record = row.of_test(1)
        if record is None or record.metrics.get("startup_ns") is None:
            return ""
        return "first" if self.repeats.first_of(record) is None else "later"

    def mark(self, row: MatrixRow, test: int, tag: str) -> str:
        """What stands behind a figure that is not like the others."""
        is_later = tag == "startup_ns" and test == 1 and self.start(row) == "later"
        return " (later start)" if is_later else ""

    def notes(self, rows: Sequence[MatrixRow]) -> list[str]:
        """What the marks mean."""
        later = [row.cell.title for row in rows if self.start(row) == "later"]
        ran = [row for row in rows if row.record is not None and row.record.is_measured]
        notes = []
        if later:
            notes.append(
                f"start-up of {', '.join(later)}: not alike. The same settings had been started "
                "before, and a later start finds compiled what a first one compiles"
            )
        titles = {row.record.number: row.cell.title for row in ran if row.record is not None}
        same = [" and ".join(dict.fromkeys(titles[r.number] for r in group if r.number in titles))
                for group in self.repeats.repeated]  # fmt: skip
        if self.reference is None or len(ran) < 2:
            return notes
        if not same:
            text = "no settings were measured twice: how much of a difference is noise is not known"
            return [*notes, text]
        told = "; ".join(filter(None, same))
        text = f"{NEAR} within the noise of {self.reference.cell.title}, known by what was measured"
        return [*notes, f"{text} more than once with the same settings: {told}"]


def _ran_with(record: TrialRecord) -> Ran | None:
    """Settings as read back, and where; None where nobody read them."""
    if record.applied is None or not record.applied.settings:
        return None
    where = ((key, record.environment.get(key, "")) for key in _HERE)
    return (*sorted(record.applied.settings.items()), *where)
