"""Rows of the fixed matrix: each configuration with the trials that measured it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.records import Configuration, OutcomeStatus, ProbeStatus, TrialRecord
from autotune.seams.engine import Fragile
from autotune.spec.matrix import Cell as MatrixCell

TESTS: Final[Mapping[int, tuple[str, str]]] = {
    1: ("startup", "Startup"),
    2: ("ttft", "TTFT"),
    3: ("throughput", "Throughput"),
    4: ("long_context", "Long context"),
    5: ("prefix_cache", "Prefix cache"),
    6: ("memory", "Memory"),
}
"""Test number to its probe and its head."""


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One configuration of the matrix and what became of it.

    Attributes:
        name: As the matrix calls it.
        record: Its last trial; None while it has not run.
        earlier: Trials of the same settings before that, which may have had other tests.
        fragile: Which of its settings have been seen to go wrong together, and how.
    """

    name: str
    cell: MatrixCell
    record: TrialRecord | None = None
    earlier: tuple[TrialRecord, ...] = ()
    fragile: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The cell's title; what runs on fragile settings says so beside its figures."""
        return f"{self.cell.title} (fragile)" if self.fragile else self.cell.title

    def of_test(self, test: int) -> TrialRecord | None:
        """The last trial in which a test was measured, else the last trial."""
        probe = TESTS[test][0]
        trials = [r for r in (*self.earlier, self.record) if r is not None]
        asked = [r for r in trials if any(
            p.probe == probe and p.status is ProbeStatus.MEASURED for p in r.probes)]  # fmt: skip
        return asked[-1] if asked else self.record

    def value(self, test: int, tag: str) -> float | None:
        """A figure of a test, raw; None where it was not measured."""
        record = self.of_test(test)
        return None if record is None else record.metrics.get(tag)


def cells_of(
    declared: Mapping[str, MatrixCell], records: Sequence[TrialRecord]
) -> dict[str, MatrixCell]:
    """The cells that were measured: in the words of a matrix file, as far as it is theirs.

    Names like A are common, so a cell is the file's if it asks for what its record says was asked
    for (`study/matrix.py`); any other one the record tells itself.

    Args:
        declared: Cells of the matrix file at hand; their order comes first.
        records: Trials of the matrix.
    """
    last = {record.label: record for record in records}
    found = {name: cell for name, cell in declared.items()
             if name in last and _is_declared(cell, last[name])}  # fmt: skip
    for name, record in last.items():
        own = MatrixCell(title=name, configuration=dict(record.configuration.values))
        found.setdefault(name, own)
    return found


def _is_declared(cell: MatrixCell, record: TrialRecord) -> bool:
    return record.environment.get("cell") == str(Configuration.of(cell.configuration))


def rows_of(
    cells: Mapping[str, MatrixCell],
    records: Sequence[TrialRecord],
    fragile: Sequence[Fragile] = (),
) -> list[MatrixRow]:
    """Each cell with the records that carry its name and the settings of the last of them.

    Args:
        cells: By name, in the table's order.
        records: Trials of the matrix.
        fragile: What has been seen to go wrong on the engine at hand; of a cell with an image of
            its own it says nothing.
    """
    return [_row_of(name, cell, [r for r in records if r.label == name], fragile)
            for name, cell in cells.items()]  # fmt: skip


def _row_of(
    name: str, cell: MatrixCell, records: Sequence[TrialRecord], fragile: Sequence[Fragile]
) -> MatrixRow:
    if not records:
        return MatrixRow(name=name, cell=cell)
    *earlier, last = records
    alike = tuple(r for r in earlier if _setting_of(r) == _setting_of(last))
    is_here = cell.image is None and last.outcome.status is not OutcomeStatus.SCREENED
    found = [str(f) for f in fragile if is_here and f.concerns(last.configuration)]
    return MatrixRow(name=name, cell=cell, record=last, earlier=alike, fragile=tuple(found))


def _setting_of(record: TrialRecord) -> tuple[object, ...]:
    image = record.environment.get("image_digest") or record.environment.get("image")
    return (record.configuration, dict(record.left_out), image)


def measured_tests(rows: Sequence[MatrixRow]) -> tuple[int, ...]:
    """The tests that any cell has been asked."""
    asked = {p.probe for row in rows for r in (*row.earlier, row.record) if r is not None
             for p in r.probes}  # fmt: skip
    return tuple(test for test, (probe, _) in TESTS.items() if probe in asked)
