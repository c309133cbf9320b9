"""The last words of a study."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from autotune.analysis.recommend import SettingReason
from autotune.analysis.setting_reason import Shown
from autotune.cli.conclude import Summary, conclude, summarise
from autotune.cli.verdict import print_verdict
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.exports.folder import Written
from autotune.report.inputs import gather, serve_command
from autotune.report.markdown import report_markdown
from autotune.report.trial_tables import trials_table
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.records import study_records

SPEC = StudySpec(name="rtx5070")


def summary_of(paths: StudyPaths, records: Sequence[TrialRecord]) -> Summary:
    """What a study of these records has come to, its recommendation written."""
    summary = summarise(SPEC, paths, records, reason="40 trials are done", damaged=["7 is damaged"])
    if summary.recommendation is None:
        return summary
    return replace(summary, written=Written(folder=paths.recommended, files=()))


def printed(folder: Path, records: Sequence[TrialRecord], *, width: int = 80) -> list[str]:
    """Lines on a terminal of some columns."""
    paths = StudyPaths(folder / "studies" / "rtx5070")
    return printed_of(summary_of(paths, records), paths, width=width)


def printed_of(summary: Summary, paths: StudyPaths, *, width: int = 80) -> list[str]:
    """The same of a summary."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_verdict(console, summary, paths, Path("studies/rtx5070/report.html"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("count", [12, 40, 120])
def test_a_study_ends_on_one_screen(tmp_path: Path, count: int) -> None:
    """At most 40 lines of 80 columns, less a path that is wider than them."""
    lines = printed(tmp_path, study_records(count))
    assert len(lines) <= 40
    free = ("start it:", "report:", "warning:")
    assert max(len(line) for line in lines if not line.startswith(free)) <= 80


@pytest.mark.parametrize(("trials", "is_said"), [(14, True), (40, False)])
def test_a_result_says_that_its_settings_were_not_tested_one_less(
    tmp_path: Path, trials: int, is_said: bool
) -> None:
    """On the last screen, in the JSON result, and in the report."""
    spec = SPEC.model_copy(update={"budget": SPEC.budget.model_copy(update={"trials": trials})})
    paths, records = StudyPaths(tmp_path / "s"), study_records(40)
    summary = summarise(spec, paths, records)
    report = report_markdown(gather(paths, spec, records))
    for text in ("\n".join(printed_of(summary, paths)), summary.as_json(), report):
        assert ("14 trials are too few to take settings away" in text) == is_said


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


def with_settings(summary: Summary, count: int, *, text: str) -> Summary:
    """The same study as if it recommended so many settings, and one as the default has it."""
    chosen = summary.recommendation
    assert chosen is not None
    made = [SettingReason(parameter=f"setting_{i}", value=8, default=4, text=text)
            for i in range(count)]  # fmt: skip
    kept = SettingReason(parameter="kept", value=1, default=1, text="as in the baseline")
    chosen = replace(chosen, settings=(*made, kept))
    return replace(summary, findings=replace(summary.findings, recommendation=chosen))


def test_a_long_reason_is_told_to_its_end(tmp_path: Path) -> None:
    """The interval stands there; a reason without it says how much and not how sure."""
    paths = StudyPaths(tmp_path)
    gain = "without it (trials 11, 14, 16, 19) Context capacity x0.50 (0.49 to 0.51)"
    costs = "TTFT under load +12.0%, Inter-token latency p99 under load +31.0% and 3 more"
    text = f"{gain}; it costs {costs}"
    summary = with_settings(summary_of(paths, study_records(40)), 3, text=text)
    lines = printed_of(summary, paths)
    assert "; 1 more setting is as in the default" in "\n".join(lines)
    assert " ".join(" ".join(lines).split()).count("+31.0% and 3 more") == 3
    assert "\N{HORIZONTAL ELLIPSIS}" not in "\n".join(lines)


def test_many_settings_have_their_reasons_in_few_words_and_whole_elsewhere(tmp_path: Path) -> None:
    """Twelve settings of two lines would push the verdict off the screen."""
    paths = StudyPaths(tmp_path)
    text = "not measured alone: no two trials differ in it and in nothing else at all, here"
    lines = printed_of(with_settings(summary_of(paths, study_records(40)), 12, text=text), paths)
    told = [f"  setting_{i} = 8 (default 4): Not measured alone" for i in range(12)]
    assert told == lines[2:14]
    assert lines[14].endswith("autotune show rtx5070")
    assert len(lines) <= 40


def test_what_a_rule_forces_keeps_its_reason_however_many_settings_there_are(
    tmp_path: Path,
) -> None:
    """It is there to keep from harm: who leaves it out must have read why."""
    paths = StudyPaths(tmp_path)
    summary = with_settings(summary_of(paths, study_records(40)), 12, text="not measured " * 9)
    chosen = summary.recommendation
    assert chosen is not None
    rule = "without it: FLASHINFER with an fp8 KV cache has given wrong text and crashes on 12.x"
    forced = replace(chosen.settings[0], text=rule, shown=Shown.FORCED)
    chosen = replace(chosen, settings=(forced, *chosen.settings[1:]))
    findings = replace(summary.findings, recommendation=chosen)
    text = " ".join(" ".join(printed_of(replace(summary, findings=findings), paths)).split())
    assert "wrong text and crashes on 12.x" in text


def test_it_is_started_as_the_report_says(tmp_path: Path) -> None:
    """The command is the same in both."""
    lines = printed(tmp_path, study_records(40))
    paths = StudyPaths(tmp_path / "studies" / "rtx5070")
    assert f"start it: {serve_command(paths, SPEC)}" in lines


def test_what_cannot_be_exported_is_recommended_all_the_same(tmp_path: Path) -> None:
    """It has no files, says so, and nothing is to be started."""
    paths = StudyPaths(tmp_path / "studies" / "rtx5070")
    records = study_records(40)
    for record in records:
        files = paths.trial(record.number)
        files.root.mkdir(parents=True)
        launch = LaunchPlan(argv=("engine", "--model", "m"), port=8000)
        files.launch.write_bytes(TypeAdapter(LaunchPlan).dump_json(launch))

    text = " ".join(printed_of(conclude(SPEC, paths, records), paths))

    assert "Recommended: trial" in text
    assert "warning: the recommendation has no files" in text
    assert "start it" not in text
    assert not paths.recommended.exists()


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
