"""The fixed matrix: configurations down, tests 1 to 6 across; an empty cell says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.metrics import METRICS, Unit
from autotune.records import OutcomeStatus, ProbeResult, ProbeStatus, TrialRecord
from autotune.report.quantities import DASH, scale_for
from autotune.report.table import SIMULATED, Cell, Column, Table, Tone, to_csv
from autotune.report.tables import any_simulated, configuration_text
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

_SHOWN: Final[Mapping[int, tuple[tuple[str, str], ...]]] = {
    1: (("", "startup_ns"),),
    2: (("", "ttft_short_ns"),),
    3: (("", "output_tokens_per_s"), ("TTFT ", "ttft_loaded_p50_ns")),
    4: (("8K ", "ttft_8k_ns"), ("16K ", "ttft_16k_ns"), ("32K ", "ttft_32k_ns")),
    5: (("repeat ", "prefix_speedup_ratio"), ("re-visit ", "revisit_speedup_ratio")),
    6: (("GPU ", "gpu_memory_peak_bytes"), ("host ", "host_memory_peak_bytes")),
}
"""Test number to (prefix, metric) of the figures in a cell."""


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One configuration of the matrix and what became of it.

    Attributes:
        name: As the matrix calls it.
        record: Its trial; None while it has not run.
    """

    name: str
    cell: MatrixCell
    record: TrialRecord | None = None


def rows_of(cells: Mapping[str, MatrixCell], records: Sequence[TrialRecord]) -> list[MatrixRow]:
    """Each cell with the last record that carries its name."""
    last = {record.label: record for record in records}
    return [MatrixRow(name=n, cell=cell, record=last.get(n)) for n, cell in cells.items()]


def matrix_table(rows: Sequence[MatrixRow], tests: Sequence[int] = tuple(TESTS)) -> Table:
    """The table for people; below it, what each configuration that did not run whole left out."""
    body = tuple(
        (Cell.of(row.cell.title, Tone.STRONG), *(_cell(row, test) for test in tests))
        for row in rows
    )
    return Table(
        title="Matrix",
        columns=(
            Column(head="cell", fold=True, least=8),
            *(
                Column(head=f"{test} {TESTS[test][1]}", fold=True, least=_longest(TESTS[test][1]))
                for test in tests
            ),
        ),
        rows=body,
        notes=tuple(note for row in rows for note in _notes(row)),
        simulated=any_simulated([row.record for row in rows if row.record is not None]),
    )


def _longest(head: str) -> int:
    """Characters of the longest word: seven columns of words must fit 80 columns."""
    return max(8, *(len(word) for word in head.split()))


def matrix_csv(rows: Sequence[MatrixRow], tests: Sequence[int] = tuple(TESTS)) -> str:
    """Raw values of every metric of the tests, the unit in each head, a reason per test."""
    tags = [m.tag for test in tests for m in METRICS.values() if m.probe == TESTS[test][0]]
    heads = ["configuration", "title", "settings", "status", "simulated"]
    heads += [f"{tag} [{METRICS[tag].unit.value}]" for tag in tags]
    heads += [f"test {test} note" for test in tests] + ["left out"]
    lines = []
    for row in rows:
        record = row.record
        metrics = {} if record is None else record.metrics
        status = "not run" if record is None else record.outcome.status.value
        settings = "" if record is None else configuration_text(record.configuration)
        marked = "" if record is None else SIMULATED if record.simulated else "no"
        left_out = {} if record is None else record.left_out
        lines.append([
            row.name, row.cell.title, settings, status, marked,
            *(_raw(tag, metrics.get(tag)) for tag in tags),
            *(_reason(row, test) for test in tests),
            "; ".join(f"{name}: {why}" for name, why in left_out.items()),
        ])  # fmt: skip
    return to_csv(heads, lines)


def _raw(tag: str, value: float | None) -> float | int | None:
    whole = {Unit.NS, Unit.BYTES, Unit.TOKENS, Unit.COUNT}
    if value is not None and METRICS[tag].unit in whole:
        return round(value)
    return value


def _cell(row: MatrixRow, test: int) -> Cell:
    """Figures of a test, or why there are none."""
    record = row.record
    figures = []
    for prefix, tag in _SHOWN[test]:
        value = None if record is None else record.metrics.get(tag)
        if value is not None:
            figures.append(prefix + scale_for(tag, (value,)).text(value))
    reason = _reason(row, test)
    if figures and reason:
        return Cell.of(f"{' · '.join(figures)} ({reason})", Tone.BAD)
    if figures:
        return Cell.of(" · ".join(figures))
    return Cell.of(reason or DASH, Tone.MUTED)


def _reason(row: MatrixRow, test: int) -> str:
    """Why a cell is empty or not whole; empty if its test was measured."""
    record = row.record
    if record is None:
        return "not run"
    result = next((p for p in record.probes if p.probe == TESTS[test][0]), None)
    if result is not None:
        return "" if result.status is ProbeStatus.MEASURED else _probe_reason(result)
    if any(record.metrics.get(tag) is not None for _, tag in _SHOWN[test]):
        return ""
    if record.outcome.status is OutcomeStatus.MEASURED:
        return "not asked for"
    failure = record.outcome.failure
    if record.left_out and record.outcome.status is OutcomeStatus.SCREENED:
        return "cannot run here"
    return "not measured" if failure is None else failure.kind.value.replace("_", " ")


def _probe_reason(result: ProbeResult) -> str:
    if result.reason:
        return result.reason
    return result.status.value if result.failure is None else result.failure.message


def _notes(row: MatrixRow) -> list[str]:
    record = row.record
    if record is None:
        return []
    notes = [f"{row.cell.title}: {name} left out: {why}" for name, why in record.left_out.items()]
    failure = record.outcome.failure
    if failure is not None and not any(why in failure.message for why in record.left_out.values()):
        notes.append(f"{row.cell.title}: {failure.message}")
    return notes
