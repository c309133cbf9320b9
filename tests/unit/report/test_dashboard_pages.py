"""Notes, files and figures for the dashboard."""

import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from autotune.paths import StudyPaths
from autotune.records import Configuration, Failure, FailureKind, TrialKind
from autotune.report.dashboard_pages import dashboard_pages, importances_of, study_page, trial_note
from autotune.report.findings import findings_of
from autotune.spec.study import StudySpec
from tests.support.records import record, study_records, telemetry

SPEC = StudySpec(name="sample")
SPEED = "output_tokens_per_s"


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    """A study whose first trial left its files."""
    found = StudyPaths(tmp_path / "sample")
    files = found.trial(0)
    files.root.mkdir(parents=True)
    files.log.write_text("INFO ready\n")
    lines = [orjson.dumps({"at_ns": s.at_ns, **s.values}).decode()
             for s in telemetry(study_records(1)[0], interval_s=5)]  # fmt: skip
    files.telemetry.write_text("\n".join(lines))
    return found


def test_a_note_tells_outcome_figures_and_settings() -> None:
    """In Markdown, simulated ones marked."""
    note = trial_note(study_records(1)[0], SPEC.objectives)
    assert note.startswith("## Trial 0, baseline\n")
    assert "**measured**" in note
    assert "- Output throughput: 1,6" in note
    assert "max_model_len=32768" in note
    assert "SIMULATED" in trial_note(record(1, simulated=True), SPEC.objectives)


def test_evidence_cannot_break_out_of_its_block() -> None:
    """An engine's text with Markdown, HTML and line breaks is shown as it is, indented."""
    failure = Failure(
        kind=FailureKind.GPU_OOM, phase="starting", message="a <b>",
        evidence=("```\n# big\n<script>x</script>",), margin_gib=-0.5,
    )  # fmt: skip
    note = trial_note(record(1, failure=failure), SPEC.objectives)
    assert "    ```\n    # big\n    <script>x</script>" in note
    assert "a &lt;b&gt;" in note
    assert "Margin: -0.50 GiB" in note


def test_a_trial_s_files_are_within_reach(paths: StudyPaths) -> None:
    """Log and curves as far as they are there; a trial without a folder has none."""
    pages = dashboard_pages(paths, SPEC)
    page = pages.trial(study_records(1)[0])
    files = {a.name: a for a in page.attachments}
    assert set(files) == {"engine.log", "gpu-memory.svg", "host-memory.svg"}
    assert files["engine.log"].read() == b"INFO ready\n"
    assert files["gpu-memory.svg"].read().startswith(b"<svg xmlns")
    assert pages.trial(record(7)).attachments == ()


def test_the_study_s_page_has_verdict_and_front(paths: StudyPaths) -> None:
    """The figure holds every feasible trial, in display units."""
    records = study_records(20)
    page = dashboard_pages(paths, SPEC).study(records)
    assert "### Pareto front" in page.note
    figure = json.loads(page.figures["pareto-front"])
    names = [trace["name"] for trace in figure["data"]]
    assert names == ["measured", "on the front", "recommended"]
    points = sum(len(trace["text"]) for trace in figure["data"])
    assert points == sum(r.is_feasible for r in records)


def test_what_broke_a_limit_and_was_measured_is_there_and_grey() -> None:
    """With its own figures in the ledger's units; what ended before that has none."""
    missed = Failure(kind=FailureKind.LIMIT_MISSED, phase="stopping", message="x")
    ended = Failure(kind=FailureKind.HUNG, phase="starting", message="x")
    whole = replace(record(1), metrics={**record(1).metrics, SPEED: 712.0, "ttft_8k_ns": 1.5e9})
    records = [
        record(0, kind=TrialKind.BASELINE),
        record(1, failure=missed, metrics=whole.metrics),
        record(2, failure=ended),
    ]
    page = study_page(findings_of(SPEC, records))

    assert list(page.infeasible) == [1]
    assert tuple(page.infeasible[1])[:2] == (712.0, 1500.0)
    assert page.front == (0,)
    assert "Grey points broke a limit" in page.note
    (grey,) = [t for t in json.loads(page.figures["pareto-front"])["data"]
               if t["name"] == "infeasible"]  # fmt: skip
    assert grey["text"] == ["trial 1, mean of 1"]
    assert grey["y"] == [1.5]


def test_a_study_that_has_just_begun_has_a_page(paths: StudyPaths) -> None:
    """Without trials, or with failures only, there is no figure."""
    pages = dashboard_pages(paths, SPEC)
    assert pages.study(()).figures == {}
    failure = Failure(kind=FailureKind.HUNG, phase="starting", message="x")
    failed = record(0, config=Configuration(), failure=failure)
    assert "The one trial did not keep every limit." in pages.study([failed]).note


def test_a_simulated_study_marks_its_name(paths: StudyPaths) -> None:
    """A real one has no mark."""
    simulated = StudySpec.model_validate({"engine": {"name": "simulated"}})
    assert dashboard_pages(paths, simulated).mark == "SIMULATED"
    assert dashboard_pages(paths, SPEC).mark == ""


def test_the_dashboard_is_given_the_report_s_front_and_its_figures() -> None:
    """A configuration that was measured twice has one pair of means, whichever trial is shown."""
    twice = Configuration.of({"max_num_seqs": 64})
    records = [
        replace(record(n, config=twice), metrics={**record(1).metrics, SPEED: speed})
        for n, speed in ((1, 690.0), (2, 710.0))
    ]
    found = findings_of(SPEC, [record(0, kind=TrialKind.BASELINE), *records])
    page = study_page(found)

    assert page.front == found.front
    assert page.values[1] == page.values[2]
    assert page.values[1][0] == 700.0
    assert "means over each configuration" in page.note


def test_the_dashboard_is_given_no_importance_of_noise() -> None:
    """As the report says of it: a spread within the noise."""
    records = [
        replace(record(n), metrics={**record(1).metrics, "output_tokens_per_s": 684.0 + n})
        for n in range(24)
    ]
    found = findings_of(SPEC, records)

    assert importances_of(found)[0] == {}
    assert "a spread within the noise" in study_page(found).note
