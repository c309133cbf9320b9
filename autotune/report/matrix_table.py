"""The fixed matrix: configurations down, tests 1 to 6 across; an empty cell says why."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from autotune.analysis.comparable import machines_of
from autotune.metrics import METRICS, Unit
from autotune.records import OutcomeStatus, ProbeResult, ProbeStatus
from autotune.report.bounds import memory_bounds
from autotune.report.matrix_noise import NEAR, Compared
from autotune.report.matrix_rows import TESTS, MatrixRow
from autotune.report.quantities import DASH, display, in_sentence, scale_for, title
from autotune.report.table import SIMULATED, Cell, Column, Table, Tone, to_csv
from autotune.report.tables import any_simulated, configuration_text
from autotune.spec.study import StudySpec

_SHOWN: Final[Mapping[int, tuple[tuple[str, str], ...]]] = {
    1: (("", "startup_ns"), ("KV ", "context_capacity_tokens")),
    2: (("", "ttft_short_ns"),),
    3: (("", "output_tokens_per_s"), ("TTFT ", "ttft_loaded_p50_ns")),
    4: (("8K ", "ttft_8k_ns"), ("16K ", "ttft_16k_ns"), ("32K ", "ttft_32k_ns")),
    5: (("repeat ", "prefix_speedup_ratio"), ("re-visit ", "revisit_speedup_ratio")),
    6: (("GPU ", "gpu_memory_peak_bytes"), ("host ", "host_memory_peak_bytes")),
}
"""Test number to (prefix, metric) of the figures in a cell."""


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
    compared = Compared.of(rows)
    body = tuple(
        (Cell.of(row.title, Tone.STRONG), *(_cell(row, test, spec, compared) for test in tests))
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
            *compared.notes(rows),
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
    heads += ["left out", "notes", "fragile", "start", "within the noise of the reference"]
    compared = Compared.of(rows)
    lines = []
    for row in rows:
        record = row.record
        status = "not run" if record is None else record.outcome.status.value
        settings = "" if record is None else configuration_text(record.configuration)
        marked = "" if record is None else SIMULATED if record.simulated else "no"
        left_out = {} if record is None else record.left_out
        lines.append([
            row.name, row.cell.title, settings, status, marked,
            *(_raw(tag, row.value(test, tag)) for test in tests for tag in _tags(test)),
            *(_reason(row, test) for test in tests),
            "; ".join(f"{name}: {why}" for name, why in left_out.items()),
            "" if record is None else "; ".join(record.notes),
            "; ".join(row.fragile),
            compared.start(row),
            "; ".join(tag for test in tests for tag in _tags(test)
                      if compared.is_noise(row, test, tag)),
        ])  # fmt: skip
    return to_csv(heads, lines)


def _tags(test: int) -> list[str]:
    return [m.tag for m in METRICS.values() if m.probe == TESTS[test][0]]


def _raw(tag: str, value: float | None) -> float | int | None:
    whole = {Unit.NS, Unit.BYTES, Unit.TOKENS, Unit.COUNT}
    if value is not None and METRICS[tag].unit in whole:
        return round(value)
    return value


def _cell(row: MatrixRow, test: int, spec: StudySpec | None, compared: Compared) -> Cell:
    """Figures of a test, or why there are none."""
    over = _over(row, test, spec)
    figures = []
    for prefix, tag in _SHOWN[test]:
        value = row.value(test, tag)
        if value is not None:
            mark = " (over the headroom)" if tag in over else compared.mark(row, test, tag)
            near = NEAR if compared.is_noise(row, test, tag) else ""
            figures.append(prefix + near + scale_for(tag, (value,)).text(value) + mark)
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
            figure = display(tag, row.value(test, tag))
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
