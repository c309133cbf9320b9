"""The fixed matrix as a table."""

import csv
import io
from dataclasses import replace

from rich.console import Console

from autotune.metrics import METRICS
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.report.matrix_rows import MatrixRow, cells_of, measured_tests, rows_of
from autotune.report.matrix_table import matrix_csv, matrix_table
from autotune.report.table import Table, to_markdown, to_rich
from autotune.seams.engine import Fragile
from autotune.spec.matrix import Cell
from autotune.spec.parameters import Condition
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB
from tests.support.records import record

CELLS = {
    "baseline": Cell(title="Baseline", reference=True),
    "A": Cell(title="A: V1 + async", configuration={"async_scheduling": True}),
    "B": Cell(title="B: multi-step", configuration={"scheduler_steps": 10}),
    "D": Cell(title="D: KV 32 GiB", configuration={"kv_offload_gib": 32}),
}

FP8 = Configuration.of({"kv_cache_dtype": "fp8"})
BASELINE = record(0, label="baseline", kind=TrialKind.MATRIX, config=Configuration())
UNSUPPORTED = replace(
    record(2, label="B", kind=TrialKind.MATRIX, config=Configuration(), metrics={}),
    probes=(),
    outcome=Outcome(
        status=OutcomeStatus.SCREENED,
        failure=Failure(
            kind=FailureKind.UNKNOWN_ARGUMENT, phase="screening", message="nothing left to set"
        ),
    ),
    left_out={"scheduler_steps": "gone since vLLM 0.10.1"},
)


def rows() -> list[MatrixRow]:
    """The baseline was measured, B is lacking, D ran out of memory, A has not run."""
    out_of_memory = Failure(
        kind=FailureKind.SHM_TOO_SMALL, phase="starting", message="32 GiB do not fit /dev/shm"
    )
    failed = record(3, label="D", kind=TrialKind.MATRIX, failure=out_of_memory)
    return rows_of(CELLS, [BASELINE, UNSUPPORTED, failed])


def test_configurations_go_down_and_tests_across() -> None:
    """A row per cell of the matrix in its order, a column per test asked for."""
    table = matrix_table(rows(), tests=(1, 3))
    assert [column.head for column in table.columns] == [
        "cell", "1 Startup", "3 Throughput",
    ]  # fmt: skip
    assert [row[0].text for row in table.rows] == [cell.title for cell in CELLS.values()]


def test_a_measured_cell_shows_its_figures() -> None:
    """Test 4 tells the TTFT at each length that was answered."""
    cell = matrix_table(rows(), tests=(4,)).rows[0][1]
    assert "8K 1." in cell.text
    assert "32K" in cell.text


def test_an_empty_cell_says_why() -> None:
    """Not run, not supported, out of memory: never a bare blank."""
    first_test = [row[1].text for row in matrix_table(rows(), tests=(1,)).rows]
    assert first_test[1:] == ["not run", "cannot run here", "shm too small"]


def test_the_reason_is_told_whole_below() -> None:
    """What was left out and why a start failed, by configuration."""
    text = to_markdown(matrix_table(rows()))
    assert "B: multi-step: scheduler_steps left out: gone since vLLM 0.10.1" in text
    assert "D: KV 32 GiB: 32 GiB do not fit /dev/shm" in text


def test_the_whole_matrix_is_on_80_columns() -> None:
    """Every test has its column, and the reasons below wrap instead of being cut."""
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_rich(matrix_table(rows())))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    heads = " ".join(lines[1:4])
    for word in ("Startup", "TTFT", "Throughput", "context", "Prefix", "Memory"):
        assert word in heads
    assert "scheduler_steps left out: gone since vLLM 0.10.1" in text


def test_a_probe_that_failed_shows_its_reason_and_no_figure() -> None:
    """A skipped or failed probe is told in its cell."""
    skipped = ProbeResult(
        probe="long_context", status=ProbeStatus.SKIPPED, reason="longest request is 4,096 tokens"
    )
    record_ = replace(BASELINE, probes=(skipped,), metrics={})
    row = MatrixRow(name="baseline", cell=CELLS["baseline"], record=record_)
    assert matrix_table([row], tests=(4,)).rows[0][1].text == "longest request is 4,096 tokens"


def test_the_last_record_of_a_cell_counts() -> None:
    """A cell that was run again shows its newest record."""
    newer = replace(BASELINE, number=9, metrics={"startup_ns": 5e9})
    first = rows_of(CELLS, [BASELINE, newer])[0]
    assert first.record is not None
    assert first.record.number == 9


def test_csv_is_raw_with_units_in_the_head() -> None:
    """Nanoseconds and bytes as whole numbers; a reason column per test."""
    parsed = list(csv.DictReader(io.StringIO(matrix_csv(rows(), tests=(1, 6)))))
    assert [line["configuration"] for line in parsed] == list(CELLS)
    assert parsed[0]["startup_ns [ns]"] == str(round(BASELINE.metrics["startup_ns"] or 0))
    assert parsed[0]["gpu_memory_peak_bytes [bytes]"].isdecimal()
    assert not parsed[2]["startup_ns [ns]"]
    assert parsed[2]["test 1 note"] == "cannot run here"
    assert parsed[2]["left out"] == "scheduler_steps: gone since vLLM 0.10.1"


def test_a_simulated_matrix_is_marked() -> None:
    """In the title and in every line of the CSV that was simulated."""
    simulated = [replace(row, record=replace(row.record, simulated=True)) for row in rows()[:1]
                 if row.record is not None]  # fmt: skip
    assert "SIMULATED" in to_markdown(matrix_table(simulated))
    assert next(csv.DictReader(io.StringIO(matrix_csv(simulated))))["simulated"] == "SIMULATED"


def test_tests_that_were_measured_apart_stand_in_one_row() -> None:
    """Tests 1 and 2 yesterday and 3 today are one cell, as long as its settings are the same."""
    halves = [
        replace(BASELINE, number=n, probes=tuple(p for p in BASELINE.probes if p.probe in names),
                metrics={t: v for t, v in BASELINE.metrics.items() if METRICS[t].probe in names})
        for n, names in enumerate(({"startup", "ttft"}, {"throughput"}))
    ]  # fmt: skip
    whole = rows_of(CELLS, halves)
    other = rows_of(CELLS, [replace(halves[0], configuration=FP8), halves[1]])
    assert measured_tests(whole) == (1, 2, 3)
    texts = [cell.text for cell in matrix_table(whole, (1, 2, 3)).rows[0]]
    assert texts == [cell.text for cell in matrix_table(rows(), (1, 2, 3)).rows[0]]
    assert matrix_table(other, (1,)).rows[0][1].text == "not asked for"
    (line,) = list(csv.DictReader(io.StringIO(matrix_csv(whole[:1], (1, 2, 3)))))
    assert line["startup_ns [ns]"]
    assert line["output_tokens_per_s [tokens/s]"]


def test_cells_over_one_bound_share_a_note() -> None:
    """Seven cells over the same headroom are one line, those of one figure together."""
    titles = {"baseline": 11.5, "A": 11.5, "D": 11.7}
    made = [
        record(number, label=name, kind=TrialKind.MATRIX, config=Configuration(),
               metrics={"gpu_memory_peak_bytes": gib * BYTES_PER_GIB})
        for number, (name, gib) in enumerate(titles.items())
    ]  # fmt: skip
    notes = matrix_table(rows_of(CELLS, made), (6,), spec=StudySpec()).notes
    (told,) = (note for note in notes if "headroom" in note)
    assert told.endswith(
        "over it are Baseline, A: V1 + async (11.50 GiB); D: KV 32 GiB (11.70 GiB)"
    )


def test_memory_over_the_headroom_is_marked() -> None:
    """12,820,938,752 bytes less 1 GiB are 10.94 GiB."""

    def table(peak_gib: float) -> Table:
        metrics = {**BASELINE.metrics, "gpu_memory_peak_bytes": peak_gib * BYTES_PER_GIB}
        made = rows_of(CELLS, [replace(BASELINE, metrics=metrics)])
        return matrix_table(made, (6,), spec=StudySpec())

    over, kept = table(11.5), table(10.9)
    assert over.rows[0][1].text.startswith("GPU 11.50 GiB (over the headroom)")
    (note,) = (n for n in over.notes if "headroom" in n)
    assert note.startswith("GPU memory, peak: 10.94 GiB leave the headroom")
    assert note.endswith("over it are Baseline (11.50 GiB)")
    assert "headroom" not in kept.rows[0][1].text
    assert not any("headroom" in note for note in kept.notes)


def test_cells_of_two_machines_are_not_to_be_compared() -> None:
    """Nobody scales a matrix, which measures its reference once; the note names the cells."""
    other = record(1, label="A", kind=TrialKind.MATRIX, config=FP8)
    moved = replace(other, environment={**other.environment, "gpu_uuid": "GPU-2"})
    here = replace(BASELINE, environment={**BASELINE.environment, "gpu_uuid": "GPU-1"})
    notes = matrix_table(rows_of(CELLS, [here, moved]), tests=(3,)).notes
    assert notes[0] == (
        "measured on 2 machines, whose speeds must not be compared: Baseline; A: V1 + async"
    )
    assert not any("machines" in note for note in matrix_table(rows_of(CELLS, [BASELINE])).notes)


def test_figures_of_fragile_settings_are_marked_wherever_they_are_read() -> None:
    """In the table, in Markdown, in CSV, with what was seen; other cells stand as they are."""
    reason = "wrong text was seen"
    fp8 = Condition(parameter="kv_cache_dtype", values=("fp8",))
    unset = Condition(parameter="attention_backend", values=("default",))
    fragile = Fragile(name="r", settings=(fp8, unset), reason=reason)
    cell = record(4, label="A", kind=TrialKind.MATRIX, config=FP8)
    made = rows_of(CELLS, [BASELINE, cell], [fragile])
    text = to_markdown(matrix_table(made))
    assert "A: V1 + async (fragile)" in text
    assert "Baseline (fragile)" not in text
    assert reason in text
    baseline, a, *_ = csv.DictReader(io.StringIO(matrix_csv(made)))
    assert (baseline["fragile"], reason in a["fragile"]) == ("", True)


def test_answers_that_nobody_checked_are_said_to_be_so() -> None:
    """The tests ask how fast; a cell whose answers were compared ends the warning."""
    words = "whether answers are right was not asked"
    assert words in to_markdown(matrix_table(rows_of(CELLS, [BASELINE])))
    probe = ProbeResult(probe="correctness", status=ProbeStatus.MEASURED)
    checked = replace(BASELINE, probes=(*BASELINE.probes, probe))
    assert words not in to_markdown(matrix_table(rows_of(CELLS, [checked])))


RAN = {"attention_backend": "FLASH_ATTN", "kv_cache_dtype": "auto"}


def ran(number: int, label: str, speed: float, startup_s: float, **settings: str) -> TrialRecord:
    """A cell whose server read back what it ran with."""
    made = record(number, label=label, kind=TrialKind.MATRIX, config=Configuration.of(settings))
    metrics = {
        "output_tokens_per_s": speed, "startup_ns": startup_s * 1e9,
        "context_capacity_tokens": 73_168.0,
    }  # fmt: skip
    return replace(made, applied=Applied(settings={**RAN, **settings}),
                   metrics={**made.metrics, **metrics})  # fmt: skip


def compared() -> list[MatrixRow]:
    """A asks for what Baseline has anyway; D runs with fp8 and is clearly faster."""
    records = [
        ran(0, "baseline", 696.0, 106.0, attention_backend="FLASH_ATTN"),
        ran(1, "A", 687.0, 76.0),
        ran(2, "B", 710.0, 120.0, kv_cache_dtype="fp8_e4m3"),
        ran(3, "D", 900.0, 216.0, kv_cache_dtype="fp8"),
    ]
    return rows_of(CELLS, records)


def test_a_later_start_is_marked_as_not_alike() -> None:
    """Only A's settings had been started before; table, notes and CSV say so."""
    table = matrix_table(compared(), tests=(1,))
    texts = [row[1].text for row in table.rows]
    assert ["later start" in text for text in texts] == [False, True, False, False]
    assert any("start-up of A: V1 + async: not alike" in note for note in table.notes)
    lines = csv.DictReader(io.StringIO(matrix_csv(compared(), tests=(1,))))
    assert [line["start"] for line in lines] == ["first", "later", "first", "first"]


def test_what_is_within_the_noise_of_the_reference_is_marked() -> None:
    """710 against 696 is less than what 696 and 687 of the same settings differ by; 900 is not."""
    table = matrix_table(compared(), tests=(3,))
    marked = [row[1].text.startswith("≈") for row in table.rows]
    assert marked == [False, True, True, False]
    assert any("Baseline and A: V1 + async" in note for note in table.notes)
    lines = list(csv.DictReader(io.StringIO(matrix_csv(compared(), tests=(3,)))))
    found = ["output_tokens_per_s" in line["within the noise of the reference"] for line in lines]
    assert found == marked


def test_without_repeats_the_noise_is_not_known() -> None:
    """No figure is marked, and a note says why."""
    rows = [row for row in compared() if row.name != "A"]
    table = matrix_table(rows, tests=(3,))
    assert not any("≈" in row[1].text for row in table.rows)
    assert any("noise is not known" in note for note in table.notes)


def test_the_capacity_of_the_kv_cache_is_on_the_table() -> None:
    """What the fp8 cell wins is there."""
    table = matrix_table(compared(), tests=(1,))
    assert "KV 73,168 tokens" in table.rows[0][1].text


def test_only_what_was_measured_is_a_row_of_the_report() -> None:
    """In the words and the order of the matrix file; what is the default anyway was not set."""
    records = [
        replace(made, label=name, environment={"cell": asked})
        for made, name, asked in (
            (UNSUPPORTED, "B", "scheduler_steps=10"),
            (BASELINE, "A", "async_scheduling=True"),
            (BASELINE, "baseline", "engine defaults"),
        )
    ]
    found = cells_of(CELLS, records)
    assert found == {name: CELLS[name] for name in ("baseline", "A", "B")}


def test_cells_of_another_matrix_tell_themselves() -> None:
    """One with a name that the file has too, and other settings; one that it does not have."""
    other, mine = (
        replace(record(n, label=name, kind=TrialKind.MATRIX, config=FP8),
                environment={"cell": "kv_cache_dtype=fp8"})
        for n, name in ((1, "A"), (2, "long"))
    )  # fmt: skip
    found = cells_of(CELLS, [other, mine])
    assert {name: cell.title for name, cell in found.items()} == {"A": "A", "long": "long"}
    assert [row.record for row in rows_of(found, [other, mine])] == [other, mine]
    untold = replace(BASELINE, label="A")
    assert cells_of(CELLS, [untold])["A"].title == "A"
