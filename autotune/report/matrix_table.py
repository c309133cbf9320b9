"""The fixed matrix: configurations down, tests 1 to 6 across; an empty cell says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from autotune.analysis.comparable import machines_of
from autotune.metrics import METRICS, Unit
from autotune.records import OutcomeStatus, ProbeResult, ProbeStatus, TrialRecord
from autotune.report.bounds import memory_bounds
from autotune.report.quantities import DASH, display, in_sentence, scale_for, title
from autotune.report.table import SIMULATED, Cell, Column, Table, Tone, to_csv
from autotune.report.tables import any_simulated, configuration_text
from autotune.seams.engine import Fragile
from autotune.spec.matrix import Cell as MatrixCell
from autotune.spec.study import StudySpec

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


def matrix_table(
    rows: Sequence[MatrixRow],
    tests: Sequence[int] = tuple(TESTS),
    *,
    spec: StudySpec | None = None,
) -> Table:
    """The table for people; below it, what each configuration that did not run whole left out.

    Args:
        rows: In the matrix's order.
        tests: A column each.
        spec: Whose headroom and limits memory is held against; None leaves that out.
    """
    body = tuple(
        (Cell.of(row.title, Tone.STRONG), *(_cell(row, test, spec) for test in tests))
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
        notes=(
            *_places(rows),
            *_unchecked(rows),
            *(note for row in rows for note in _notes(row)),
            *_memory(rows, tests, spec),
        ),
        simulated=any_simulated([row.record for row in rows if row.record is not None]),
    )


def _longest(head: str) -> int:
    """Characters of the longest word: seven columns of words must fit 80 columns."""
    return max(8, *(len(word) for word in head.split()))


def matrix_csv(rows: Sequence[MatrixRow], tests: Sequence[int] = tuple(TESTS)) -> str:
    """Raw values of every metric of the tests, the unit in each head, a reason per test."""
    tags = [tag for test in tests for tag in _tags(test)]
    heads = ["configuration", "title", "settings", "status", "simulated"]
    heads += [f"{tag} [{METRICS[tag].unit.value}]" for tag in tags]
    heads += [f"test {test} note" for test in tests]
    heads += ["left out", "notes", "fragile"]
    lines = []
    for row in rows:
        record = row.record
        status = "not run" if record is None else record.outcome.status.value
        settings = "" if record is None else configuration_text(record.configuration)
        marked = "" if record is None else SIMULATED if record.simulated else "no"
        left_out = {} if record is None else record.left_out
        lines.append([
            row.name, row.cell.title, settings, status, marked,
            *(_raw(tag, _value(row, test, tag)) for test in tests for tag in _tags(test)),
            *(_reason(row, test) for test in tests),
            "; ".join(f"{name}: {why}" for name, why in left_out.items()),
            "" if record is None else "; ".join(record.notes),
            "; ".join(row.fragile),
        ])  # fmt: skip
    return to_csv(heads, lines)


def _tags(test: int) -> list[str]:
    return [m.tag for m in METRICS.values() if m.probe == TESTS[test][0]]


def _value(row: MatrixRow, test: int, tag: str) -> float | None:
    record = row.of_test(test)
    return None if record is None else record.metrics.get(tag)


def _raw(tag: str, value: float | None) -> float | int | None:
    whole = {Unit.NS, Unit.BYTES, Unit.TOKENS, Unit.COUNT}
    if value is not None and METRICS[tag].unit in whole:
        return round(value)
    return value


def _cell(row: MatrixRow, test: int, spec: StudySpec | None) -> Cell:
    """Figures of a test, or why there are none."""
    over = _over(row, test, spec)
    figures = []
    for prefix, tag in _SHOWN[test]:
        value = _value(row, test, tag)
        if value is not None:
            mark = " (over the headroom)" if tag in over else ""
            figures.append(prefix + scale_for(tag, (value,)).text(value) + mark)
    reason = _reason(row, test)
    if figures and over:
        return Cell.of(" · ".join(figures), Tone.BAD)
    if figures and reason:
        return Cell.of(f"{' · '.join(figures)} ({reason})", Tone.BAD)
    if figures:
        return Cell.of(" · ".join(figures))
    return Cell.of(reason or DASH, Tone.MUTED)


def _reason(row: MatrixRow, test: int) -> str:
    """Why a cell is empty or not whole; empty if its test was measured."""
    record = row.of_test(test)
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


def _over(row: MatrixRow, test: int, spec: StudySpec | None) -> dict[str, float]:
    """Memory of a test that leaves less free than the study wants: metric to its bound."""
    record = row.of_test(test)
    if record is None or spec is None:
        return {}
    shown = {tag for _, tag in _SHOWN[test]}
    return {
        tag: bound
        for tag, bound in memory_bounds(spec, record.environment).items()
        if tag in shown and (value := record.metrics.get(tag)) is not None and value > bound
    }


def _places(rows: Sequence[MatrixRow]) -> list[str]:
    """Which cells were measured on which machine, where there is more than one."""
    titles = {row.record.number: row.cell.title for row in rows if row.record is not None}
    records = [row.record for row in rows if row.record is not None and row.record.probes]
    machines = machines_of(sorted(records, key=lambda r: r.number))
    if len(machines) < 2:
        return []
    named = "; ".join(", ".join(titles[r.number] for r in machine) for machine in machines)
    return [f"measured on {len(machines)} machines, whose speeds must not be compared: {named}"]


def _unchecked(rows: Sequence[MatrixRow]) -> list[str]:
    """The tests ask how fast, not whether answers are right: what nobody asked is said."""
    ran = [row.record for row in rows if row.record is not None and row.record.is_measured]
    checked = any(p.probe == "correctness" for record in ran for p in record.probes)
    if not ran or checked:
        return []
    text = (
        "whether answers are right was not asked: `autotune study` compares them with the default's"
    )
    return [text]


def _memory(rows: Sequence[MatrixRow], tests: Sequence[int], spec: StudySpec | None) -> list[str]:
    """One line for each bound that is broken: what each cell that breaks it uses."""
    found: dict[str, dict[str, list[str]]] = {}
    for row, test in product(rows, tests):
        for tag, bound in _over(row, test, spec).items():
            least = f"{in_sentence(title(tag))}: {display(tag, bound)} leave the headroom"
            figure = display(tag, _value(row, test, tag))
            found.setdefault(least, {}).setdefault(figure, []).append(row.cell.title)
    return [
        f"{least} that the study wants; over it are "
        + "; ".join(f"{', '.join(names)} ({figure})" for figure, names in figures.items())
        for least, figures in found.items()
    ]


def _notes(row: MatrixRow) -> list[str]:
    record = row.record
    if record is None:
        return []
    notes = [f"{row.cell.title}: {name} left out: {why}" for name, why in record.left_out.items()]
    notes += [f"{row.cell.title}: {note}" for note in record.notes]
    notes += [f"{row.cell.title}: {why}" for why in row.fragile]
    if row.cell.image is not None:
        release = record.environment.get("engine_release", "of unknown release")
        notes.insert(0, f"{row.cell.title}: run in {row.cell.image}, engine {release}")
    failure = record.outcome.failure
    if failure is not None and not any(why in failure.message for why in record.left_out.values()):
        notes.append(f"{row.cell.title}: {failure.message}")
    return notes
