"""The report's page and its Markdown."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autotune.paths import StudyPaths
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    OutcomeStatus,
    TrialRecord,
)
from autotune.report.findings import findings_of
from autotune.report.html import report_html, write_report
from autotune.report.inputs import ReportInputs, gather
from autotune.report.markdown import report_markdown
from autotune.report.matrix_rows import MatrixRow
from autotune.report.matrix_table import matrix_table
from autotune.report.picture import pareto_picture
from autotune.report.summary import facts
from autotune.seams.engine import Fragile, Removal, ResolvedSpace
from autotune.spec.matrix import Cell
from autotune.spec.space import Condition, SearchSpace
from autotune.spec.study import Objective, StudySpec
from autotune.store import write_preference, write_resolution
from tests.support.records import record, study_records, telemetry

SPEC = StudySpec(name="sample")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J"


def inputs(
    records: tuple[TrialRecord, ...], *, spec: StudySpec = SPEC, log: str = "INFO ready"
) -> ReportInputs:
    """Everything that a page needs."""
    findings = findings_of(spec, records, with_importances=False)
    chosen = findings.chosen
    return ReportInputs(
        findings=findings,
        log_tail=lambda _number, characters: log[-characters:],
        telemetry=() if chosen is None else telemetry(chosen),
        serve="docker compose -f recommended/docker-compose.yml up -d",
        reproduce="autotune study studies/sample/study.yaml --name sample-again",
    )


class Page(HTMLParser):
    """Elements, ids and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]


@pytest.fixture(scope="module")
def whole() -> str:
    """The page of an ordinary study."""
    return report_html(inputs((*study_records(40), alone())))


def alone() -> TrialRecord:
    """A trial that differs from the baseline in one setting."""
    baseline = study_records(1)[0]
    return record(40, config=baseline.configuration.updated({"max_num_seqs": 64}))


def test_it_holds_every_section(whole: str) -> None:
    """Verdict, recommendation, criteria, front, effects, failures, time, memory, environment."""
    assert {
        "verdict", "criteria", "recommended", "front", "effects", "failures", "time", "memory",
        "trials", "environment",
    } <= set(Page(whole).ids)  # fmt: skip
    assert "matrix" not in Page(whole).ids


def test_it_asks_the_network_for_nothing(whole: str) -> None:
    """No address in any attribute, no import, and a policy that forbids the rest."""
    page = Page(whole)
    loading = [(n, v) for n, v in page.attributes if n in {"src", "href", "action", "srcset"}]
    assert loading
    assert all(v and v.startswith(("#", "data:")) for _, v in loading)
    assert "@import" not in whole
    assert not re.search(r"url\((?!data:)", whole)
    assert "default-src 'none'" in whole


def test_ids_are_unique(whole: str) -> None:
    """Though each plot is drawn for a desk and for a phone."""
    ids = Page(whole).ids
    assert len(ids) == len(set(ids))


def test_every_trial_can_be_opened(whole: str) -> None:
    """Its data lie in the page: settings, figures, log."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', whole, re.DOTALL)
    assert text is not None
    data = json.loads(text[1])
    assert set(data["trials"]) == {str(n) for n in range(41)}
    first = data["trials"]["0"]
    assert first["log"] == "INFO ready"
    assert len(first["figures"]) == len(data["metrics"])
    assert first["settings"] == [["max_model_len", "32768", 0]]


def test_hostile_text_is_only_text() -> None:
    """From a log, a label, a model's name, a message, a setting: never an element."""
    failure = Failure(
        kind=FailureKind.CRASHED_AT_START, phase=HOSTILE, message=HOSTILE, evidence=(HOSTILE,)
    )
    records = (
        *study_records(3),
        record(3, label=HOSTILE, config=Configuration.of({HOSTILE: HOSTILE}), failure=failure),
        replace(record(4), environment={HOSTILE: HOSTILE}, notes=(HOSTILE,), command=(HOSTILE,)),
    )
    text = report_html(
        inputs(records, spec=StudySpec(model=HOSTILE.rstrip("\x1b[2J")), log=HOSTILE)
    )
    page = Page(text)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x1b" not in text


def test_a_simulated_study_is_marked_everywhere() -> None:
    """Title, banner, headings, plots, and each trial's page; a real one nowhere."""
    text = report_html(inputs(study_records(20, simulated=True)))
    assert "<title>SIMULATED" in text
    assert text.count("SIMULATED") > 15
    assert "SIMULATED" not in report_html(inputs(study_records(20))).replace(
        "autotune/simulated", ""
    )


def test_a_study_without_anything_feasible_still_has_its_page() -> None:
    """It says why, and shows no recommendation."""
    failure = Failure(kind=FailureKind.GPU_OOM_WEIGHTS, phase="starting", message="no room")
    text = report_html(inputs(tuple(record(n, failure=failure) for n in range(4))))
    assert "None of the 4 trials kept every limit." in text
    assert "recommended" not in Page(text).ids
    assert "failures" in Page(text).ids


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_smallest_studies_have_a_page(count: int) -> None:
    """No trial, only the baseline, one more."""
    assert "trials" in Page(report_html(inputs(study_records(count)))).ids


def test_one_objective_needs_no_scatter() -> None:
    """The page does without."""
    spec = StudySpec(objectives=[Objective(metric="output_tokens_per_s")])
    made = inputs(study_records(10), spec=spec)
    assert "front" not in Page(report_html(made)).ids
    assert not pareto_picture(made.findings)


def test_the_matrix_is_shown_where_there_is_one() -> None:
    """As its own section."""
    made = inputs(study_records(5))
    cell = Cell(title="Baseline", reference=True)
    table = matrix_table([MatrixRow(name="baseline", cell=cell, record=study_records(1)[0])])
    text = report_html(replace(made, matrix=table))
    assert "matrix" in Page(text).ids
    assert "Long context" in text


def test_a_study_of_500_trials_stays_under_5_mb() -> None:
    """Logs share a budget: whatever they hold, the page does not grow beyond it."""
    made = inputs(study_records(500), log="x" * 200_000)
    assert len(report_html(made).encode()) < 5_000_000


def test_it_is_written_beside_the_study(tmp_path: Path) -> None:
    """With the logs and curves of the trials' folders; the name says if it is simulated."""
    paths = StudyPaths(tmp_path / "sample")
    folder = paths.trial(0)
    folder.root.mkdir(parents=True)
    folder.log.write_text("the last words\n")
    written = write_report(paths, SPEC, study_records(3), written="2026-11-02")
    assert written.name == "report.html"
    assert "the last words" in written.read_text()
    assert "on 2026-11-02" in written.read_text()
    assert (paths.root / "report.md").read_text().startswith("# sample: autotune report\n")
    marked = write_report(paths, SPEC, study_records(3, simulated=True))
    assert marked.name == "report.SIMULATED.html"
    assert not gather(paths, SPEC, study_records(3, simulated=True)).serve


def test_a_simulated_study_is_marked_before_its_first_trial(tmp_path: Path) -> None:
    """Its engine is known, whatever has become of its records."""
    spec = StudySpec.model_validate({"name": "sample", "engine": {"name": "simulated"}})
    written = write_report(StudyPaths(tmp_path / "sample"), spec, ())
    assert written.name == "report.SIMULATED.html"
    assert "SIMULATED" in written.read_text()


def test_what_is_damaged_or_fragile_is_said_at_the_top(tmp_path: Path) -> None:
    """In the verdict's own section, and in the text; only what concerns the recommendation."""
    paths = StudyPaths(tmp_path / "sample")
    everything = Fragile(name="driver", settings=(), reason="seen to hang")
    other = Fragile(
        name="unused", settings=(Condition(parameter="nowhere", values=(1,)),), reason="not here"
    )
    removed = (Removal(parameter="scheduler_steps", value=None, reason="gone since 0.10.1"),)
    space = SearchSpace(name="s", parameters=())
    write_resolution(
        paths, ResolvedSpace(space=space, removed=removed, fragile=(everything, other))
    )

    page = write_report(paths, SPEC, study_records(3), damaged=["trial 7 is damaged <b>"])

    verdict = page.read_text().partition('<section id="verdict">')[2].partition("</section>")[0]
    assert "driver: seen to hang" in verdict
    assert "trial 7 is damaged &lt;b&gt;" in verdict
    assert "not here" not in verdict
    assert "gone since 0.10.1" in page.read_text()
    text = page.with_suffix(".md").read_text()
    for said in ("driver: seen to hang", "trial 7 is damaged", "gone since 0.10.1"):
        assert said in text


def test_a_record_that_was_set_aside_is_missed_at_the_end_of_a_study_too(tmp_path: Path) -> None:
    """Whoever writes the page without having read the records looks for it."""
    paths = StudyPaths(tmp_path / "sample")
    aside = paths.trial(4).root / "trial.json.damaged"
    aside.parent.mkdir(parents=True)
    aside.touch()
    assert f"set aside: {aside}" in write_report(paths, SPEC, study_records(3)).read_text()


@pytest.mark.parametrize(
    ("deployer", "command"), [("docker", "docker compose -f"), ("process", "sh ")]
)
def test_it_is_served_as_the_study_ran_it(tmp_path: Path, deployer: str, command: str) -> None:
    """What ran as a process is started by its script, not by an image that nobody measured."""
    spec = StudySpec.model_validate({"engine": {"name": "vllm", "deployer": deployer}})
    paths = StudyPaths(tmp_path / "s")
    assert gather(paths, spec, study_records(3)).serve.startswith(command)


def test_the_preference_that_was_chosen_is_the_one_of_the_page(tmp_path: Path) -> None:
    """As `autotune recommend --prefer` stored it."""
    paths = StudyPaths(tmp_path / "sample")
    write_preference(paths, "context")
    found = gather(paths, SPEC, study_records(40)).findings.recommendation
    assert found is not None
    assert found.prefer == "context"


def test_markdown_says_the_same() -> None:
    """Verdict, tables, commands; hostile text stays text."""
    records = (*study_records(30), record(30, label="a|b<script>"))
    text = report_markdown(inputs(records))
    for heading in ("## Success criteria", "## Recommended settings", "## Pareto front",
                    "## Failures", "## Where the GPU's time went", "## Trials"):  # fmt: skip
        assert heading in text
    assert "<script>" not in text
    assert "SIMULATED" not in text
    assert "SIMULATED" in report_markdown(inputs(study_records(5, simulated=True)))


def test_the_picture_stands_alone() -> None:
    """With its own style sheet, for light and dark."""
    picture = pareto_picture(inputs(study_records(20)).findings)
    assert picture.startswith("<svg xmlns=")
    assert "prefers-color-scheme:dark" in picture


def test_a_study_without_a_feasible_trial_has_objectives_and_no_front() -> None:
    """The heading says what the picture is, as its link does; the default is no front."""
    over = Failure(kind=FailureKind.MEMORY_LIMIT, phase="probe:memory", message="11.2 of 11 GiB")
    base = record(0)
    only = replace(
        base, outcome=replace(base.outcome, status=OutcomeStatus.INFEASIBLE, failure=over)
    )
    page = report_html(inputs((only,)))
    assert "<h2>Objectives" in page
    assert "Pareto front" not in page
    assert "No row of the front" not in page
    assert "Its end: infeasible: memory limit (11.2 of 11 GiB)." in page


def test_the_line_below_the_name_tells_the_engine_also_where_the_last_trial_never_started() -> None:
    """A trial that would not have fitted ran nowhere."""
    screened = Failure(kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="too large")
    last = replace(record(1, failure=screened), environment={})
    assert "vllm 0.33.0" in facts(findings_of(SPEC, (record(0), last), with_importances=False))
