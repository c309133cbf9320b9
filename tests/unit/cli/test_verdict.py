"""The last words of a study."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from autotune.cli.conclude import Summary, summarise
from autotune.cli.verdict import print_verdict
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.inputs import serve_command
from autotune.report.trial_tables import trials_table
from autotune.spec.study import StudySpec
from tests.support.records import study_records

SPEC = StudySpec(name="rtx5070")


def summary_of(paths: StudyPaths, records: Sequence[TrialRecord]) -> Summary:
    """What a study of these records has come to."""
    return summarise(SPEC, paths, records, reason="40 trials are done", damaged=["7 is damaged"])


def printed(folder: Path, records: Sequence[TrialRecord], *, width: int = 80) -> list[str]:
    """Lines on a terminal of some columns."""
    paths = StudyPaths(folder / "studies" / "rtx5070")
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_verdict(console, summary_of(paths, records), paths, Path("studies/rtx5070/report.html"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("count", [12, 40, 120])
def test_a_study_ends_on_one_screen(tmp_path: Path, count: int) -> None:
    """At most 40 lines of 80 columns, less a path that is wider than them."""
    lines = printed(tmp_path, study_records(count))
    assert len(lines) <= 40
    free = ("start it:", "report:", "warning:")
    assert max(len(line) for line in lines if not line.startswith(free)) <= 80


def test_it_tells_settings_costs_criteria_and_at_last_the_verdict(tmp_path: Path) -> None:
    """In this order, so that what matters most stands where the eye is."""
    text = " ".join(" ".join(printed(tmp_path, study_records(40))).split())
    order = ["Recommended: trial", "Worse than the default", "Stability", "TTFT at 8K: ",
             "warning: 7 is damaged", "40 trials (", "ended: 40 trials are done",
             "criteria are met", "start it: ", "report: studies/rtx5070/report.html",
             "autotune show rtx5070"]  # fmt: skip
    places = [text.find(wanted) for wanted in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)


def test_every_changed_setting_has_its_reason(tmp_path: Path) -> None:
    """Those that the default has too are only counted."""
    records = study_records(40)
    chosen = summary_of(StudyPaths(tmp_path), records).recommendation
    assert chosen is not None
    text = "\n".join(printed(tmp_path, records))
    for setting in chosen.settings:
        line = f"  {setting.parameter} = {setting.value}"
        assert (line in text) == (setting.value != setting.default), setting.parameter


def test_it_is_started_as_the_report_says(tmp_path: Path) -> None:
    """The command is the same in both."""
    lines = printed(tmp_path, study_records(40))
    paths = StudyPaths(tmp_path / "studies" / "rtx5070")
    assert f"start it: {serve_command(paths, SPEC)}" in lines


def test_a_simulated_study_is_marked_and_nothing_of_it_is_to_be_started(tmp_path: Path) -> None:
    """A prediction does not serve anybody."""
    records = [replace(r, simulated=True) for r in study_records(20)]
    text = "\n".join(printed(tmp_path, records))
    assert "Recommended (SIMULATED)" in text
    assert "start it" not in text


def test_a_study_without_a_feasible_trial_says_what_failed(tmp_path: Path) -> None:
    """No settings, no criteria; the commonest end and where to look."""
    records = [r for r in study_records(60) if not r.is_measured]
    text = "\n".join(printed(tmp_path, records))
    assert f"None of the {len(records)} trials kept every limit." in text
    assert "report:" in text
    assert "Recommended" not in text


def test_the_long_tables_are_elsewhere(tmp_path: Path) -> None:
    """`show` has them."""
    records = study_records(40)
    table = trials_table(records, SPEC.objectives)
    assert table.title not in "\n".join(printed(tmp_path, records))
