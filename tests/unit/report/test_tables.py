"""Tables of a study."""

import csv
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from autotune.analysis.criteria import Criterion, Verdict
from autotune.analysis.recommend import Recommendation, SettingReason
from autotune.records import Configuration, Failure, FailureKind
from autotune.report.brief import brief_settings
from autotune.report.table import Table, to_csv, to_markdown, to_rich
from autotune.report.tables import (
    comparison_table,
    configuration_text,
    criteria_table,
    settings_table,
)
from autotune.report.trial_tables import front_table, trials_table
from autotune.spec.study import StudySpec
from tests.support.records import record, study_records

OBJECTIVES = StudySpec().objectives


def on_terminal(table: Table, *, width: int = 120) -> str:
    """A table as a terminal of a width shows it."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_trial_table_tells_every_trial() -> None:
    """A row each, in the order given, with the front marked."""
    records = study_records(12)
    table = trials_table(records, OBJECTIVES, front=(1, 4), recommended=4)
    assert [row[0].text for row in table.rows][:5] == ["0", "1★", "2", "3", "4★"]
    assert len(table.rows) == 12


def test_a_failed_trial_shows_dashes_and_its_reason() -> None:
    """No figure is invented for what was not measured."""
    failed = record(
        3, failure=Failure(kind=FailureKind.GPU_OOM_WARMUP, phase="starting", message="no room")
    )
    row = trials_table([failed], OBJECTIVES).rows[0]
    assert [cell.text for cell in row[2:6]] == ["\N{EN DASH}"] * 3 + ["infeasible: gpu oom warmup"]


def test_simulated_figures_are_marked_in_every_table() -> None:
    """Terminal and Markdown both say SIMULATED; real ones do not."""
    for simulated in (True, False):
        records = study_records(4, simulated=simulated)
        table = front_table(records, OBJECTIVES, front=(1,), baseline=records[0])
        assert ("SIMULATED" in to_markdown(table)) is simulated
        assert ("SIMULATED" in on_terminal(table)) is simulated


def test_the_front_is_sorted_and_ends_with_the_baseline() -> None:
    """Best of the first objective first; the baseline below, though it is not on the front."""
    records = [
        record(0, metrics={"output_tokens_per_s": 100.0}),
        record(1, metrics={"output_tokens_per_s": 150.0}),
        record(2, metrics={"output_tokens_per_s": 200.0}),
    ]
    table = front_table(records, OBJECTIVES, front=(1, 2), recommended=1, baseline=records[0])
    assert [row[0].text for row in table.rows] == ["2", "1 recommended", "0 baseline"]


def test_a_recommendation_beside_the_front_is_explained() -> None:
    """The table says that it is not on the front; the rules that passed points over are told."""
    records = [record(n, metrics={"output_tokens_per_s": 100.0 + n}) for n in range(3)]
    table = front_table(records, OBJECTIVES, front=(2,), recommended=1, baseline=records[0])
    assert [row[0].text for row in table.rows] == ["2", "1 recommended", "0 baseline"]
    assert "not on it" in table.notes[-1]
    kept = front_table(records, OBJECTIVES, front=(2,), recommended=0, baseline=records[0])
    assert [row[0].text for row in kept.rows] == ["2", "0 recommended baseline"]


def test_a_configuration_is_told_by_its_difference() -> None:
    """Changed, added and dropped settings; nothing else."""
    reference = Configuration.of({"block_size": 16, "max_num_seqs": 64})
    other = Configuration.of({"max_num_seqs": 128, "kv_cache_dtype": "fp8"})
    text = configuration_text(other, against=reference)
    assert text == "kv_cache_dtype=fp8, max_num_seqs=128, block_size back to default"


@pytest.mark.parametrize("told", [str, brief_settings])
def test_defaults_have_one_name_in_every_table(told: Callable[[Configuration], str]) -> None:
    """The engine's own, and one that was lowered, whatever they are held against."""
    lowered = Configuration.of({"gpu_memory_utilization": 0.9})
    compared = brief_settings if told is brief_settings else _compared
    for name in (Configuration(), lowered):
        assert {compared(name, Configuration()), compared(name, lowered)} == {told(name)}
    assert told(Configuration()) in {"engine defaults", "defaults"}


def _compared(configuration: Configuration, against: Configuration) -> str:
    return configuration_text(configuration, against=against)


def test_a_criterion_is_met_not_met_or_not_measured() -> None:
    """Three states, three words, the figures in people's units."""
    table = criteria_table([
        Criterion(name="throughput", verdict=Verdict.MET, metric="output_tokens_per_s",
                  value=1.53, bound=1.5, figures=(("chosen", 1530.0), ("baseline", 1000.0))),
        Criterion(name="gpu_memory", verdict=Verdict.NOT_MET, metric="gpu_memory_peak_bytes",
                  value=11.3 * 1024**3, bound=11.0 * 1024**3),
        Criterion(name="ttft_8k", verdict=Verdict.NOT_MEASURED, metric="ttft_8k_ns", bound=2e9),
    ])  # fmt: skip
    assert [[cell.text for cell in row[1:]] for row in table.rows] == [
        ["more than 1.50\N{MULTIPLICATION SIGN}",
         "1.53\N{MULTIPLICATION SIGN} (1,530 against 1,000 tok/s)", "met"],
        ["at most 11.00 GiB", "11.30 GiB", "not met"],
        ["at most 2.00 s", "\N{EN DASH}", "not measured"],
    ]  # fmt: skip


def recommendation(*settings: SettingReason) -> Recommendation:
    """A recommendation of some settings."""
    return Recommendation(
        record=record(1), baseline=None, keep_default=not settings, reason="", settings=settings,
        gains={}, detectable={}, front=(1,), prefer="balanced",
    )  # fmt: skip


def test_every_recommended_setting_has_its_reason() -> None:
    """Value, default and reason side by side; no setting at all is an answer too."""
    setting = SettingReason(
        parameter="kv_cache_dtype", value="fp8", default="auto", text="context_capacity_tokens x2"
    )
    table = settings_table(recommendation(setting))
    assert [cell.text for cell in table.rows[0]] == [
        "kv_cache_dtype", "fp8", "auto", "Context capacity \N{MULTIPLICATION SIGN}2",
    ]  # fmt: skip
    assert "defaults are recommended" in to_markdown(settings_table(recommendation()))


def test_a_comparison_leaves_out_what_nobody_measured() -> None:
    """One side is enough for a row; the change needs both."""
    table = comparison_table(
        ["output_tokens_per_s", "ttft_8k_ns", "joules_per_output_token"],
        {"output_tokens_per_s": 1530.0, "ttft_8k_ns": 1.5e9},
        {"output_tokens_per_s": 1000.0},
        intervals={"output_tokens_per_s": (1500.0, 1560.0)},
    )
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["Output throughput", "1,530 tok/s", "1,500 to 1,560 tok/s", "1,000 tok/s", "+53.0%"],
        ["TTFT at 8K", "1.50 s", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}"],
    ]


def test_hostile_names_break_neither_markdown_nor_the_terminal() -> None:
    """Pipes, HTML, escapes in a label stay text."""
    hostile = record(1, label="a|b <script>\x1b[2J`x`", metrics={})
    table = trials_table([hostile], OBJECTIVES)
    markdown = to_markdown(table)
    assert "a\\|b &lt;script&gt;\\`x\\`" in markdown
    assert "\x1b" not in on_terminal(table)


def test_a_table_fits_80_columns() -> None:
    """No line of the trial table is wider than the terminal."""
    records = study_records(10)
    table = trials_table(records, OBJECTIVES, baseline=records[0])
    lines = on_terminal(table, width=80).splitlines()
    assert len(lines) > 10
    assert max(len(line) for line in lines) <= 80


def test_csv_holds_raw_values_and_runs_no_formula() -> None:
    """None is empty, a text that looks like a formula is disarmed, numbers stay numbers."""
    text = to_csv(["a", "b", "c"], [[-1.5, None, "=HYPERLINK(1)"]])
    assert list(csv.reader(io.StringIO(text))) == [["a", "b", "c"], ["-1.5", "", "'=HYPERLINK(1)"]]


def test_a_start_up_is_not_held_against_one_of_another_kind() -> None:
    """A first start compiles what a later one finds: no change is told, and a note says why."""
    mine, other = {"startup_ns": 60e9}, {"startup_ns": 120e9}
    table = comparison_table(["startup_ns"], mine, other, unlike=("startup_ns",))
    assert table.rows[0][-1].text == "not alike"
    assert "a first start compiles" in table.notes[0]
    assert comparison_table(["startup_ns"], mine, other).rows[0][-1].text == "-50.0%"
