"""The report in a real headless browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from autotune.paths import declared_file
from autotune.records import Configuration, Failure, FailureKind, TrialKind
from autotune.report.findings import findings_of
from autotune.report.html import report_html
from autotune.report.inputs import ReportInputs
from autotune.report.matrix_rows import rows_of
from autotune.report.matrix_table import matrix_table
from autotune.spec.matrix import read_matrix
from autotune.spec.study import StudySpec
from tests.support.browser import WIDTHS, Watched, chromium, launched
from tests.support.records import record, study_records, telemetry

HOSTILE = "</script><img src=x onerror=document.title='owned'>"

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of 60 trials, one of which has a hostile log."""
    failure = Failure(
        kind=FailureKind.GPU_OOM_GRAPHS, phase="starting", message=HOSTILE, evidence=(HOSTILE,),
        margin_gib=-0.5,
    )  # fmt: skip
    records = (*study_records(60), record(60, label=HOSTILE, failure=failure))
    findings = findings_of(StudySpec(name="sample"), records, with_importances=False)
    assert findings.chosen is not None
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(
        report_html(
            ReportInputs(
                findings=findings,
                log_tail=lambda number, _: f"log of {number} {HOSTILE}",
                telemetry=telemetry(findings.chosen),
            )
        ),
        encoding="utf-8",
    )
    return path


@pytest.fixture(params=WIDTHS, ids=["desk", "phone"])
def watched(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The report on a desk and on a phone."""
    width, scheme = request.param
    found = Watched(browser, report, width=width, scheme=scheme)
    yield found
    found.close()


def test_it_opens_without_complaint_and_without_the_network(watched: Watched) -> None:
    """No console message, no error, one request: the file itself; nothing sticks out sideways."""
    assert watched.complaints == []
    assert watched.requests == [watched.page.url]
    assert watched.overflow == 0


def test_no_objective_of_the_front_is_cut_off(watched: Watched) -> None:
    """On a phone too the table needs no scrolling sideways."""
    beyond = watched.page.locator("#front .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert beyond == 0


def test_a_point_opens_its_trial(watched: Watched) -> None:
    """Configuration, outcome, figures, and the end of the log; Escape closes it."""
    page = watched.page
    point = page.locator(f".plot.{watched.plots} .dot[data-trial]").first
    number = point.get_attribute("data-trial")
    point.click()
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    text = dialog.inner_text()
    assert f"Trial {number}:" in text
    assert text.split("\n")[1].endswith(("measured", "infeasible: limit missed")), text
    settings = study_records(60)[int(number or 0)].configuration.values
    assert settings
    assert all(name in text and str(value) in text for name, value in settings.items())
    assert "Output throughput" in text
    assert f"log of {number}" in text
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert watched.complaints == []


def test_a_hint_follows_the_pointer_and_the_keyboard(watched: Watched) -> None:
    """Hovering and focusing both tell a point's figures; Enter opens it."""
    page = watched.page
    point = page.locator(f".plot.{watched.plots} .dot[data-trial]").first
    point.hover()
    hint = page.locator("#tip")
    assert "tok/s" in hint.inner_text()
    point.focus()
    page.keyboard.press("Enter")
    assert page.locator("#detail").is_visible()


def test_hostile_text_runs_nothing(watched: Watched) -> None:
    """A log, a label and a message that try to are shown as text."""
    page = watched.page
    page.locator("#trial-table tr[data-trial='60']").click()
    assert "<img src=x" in page.locator("#detail").inner_text()
    assert "(0.50 GiB short)" in page.locator("#detail").inner_text()
    assert "owned" not in page.title()
    assert page.locator("#detail img").count() == 0
    assert watched.complaints == []


def test_trials_can_be_filtered_and_sorted(watched: Watched) -> None:
    """By outcome; by a figure, what was not measured last."""
    page = watched.page
    rows = page.locator("#trial-table tbody tr:visible")
    everything = rows.count()
    page.locator(".filter button[data-filter='infeasible']").click()
    assert 0 < rows.count() < everything
    page.locator(".filter button[data-filter='']").click()
    assert rows.count() == everything == 61
    page.locator("#trial-table th").nth(2).click()
    shown = page.eval_on_selector_all(
        "#trial-table tbody tr", "rows => rows.map(row => row.cells[2].dataset.sort)"
    )
    figures = [float(value) for value in shown if value]
    assert figures == sorted(figures)
    assert shown[len(figures) :] == [""] * (61 - len(figures))


def test_another_pair_of_objectives_can_be_chosen(watched: Watched) -> None:
    """One scatter at a time."""
    page = watched.page
    panels = page.locator(".tabs .panel:visible")
    assert panels.count() == 1
    before = panels.first.inner_html()
    page.locator("label[for=pair2]").click()
    assert panels.count() == 1
    assert panels.first.inner_html() != before


@pytest.mark.parametrize(("width", "scheme"), WIDTHS, ids=["desk", "phone"])
def test_a_matrix_is_read_without_scrolling_sideways(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    """Every cell of the user's matrix, every test; its points broke no limit."""
    cells = read_matrix(declared_file("studies", "matrix")).configurations
    made = [record(n, label=name, kind=TrialKind.MATRIX, config=Configuration.of({"a": n}))
            for n, name in enumerate(cells)]  # fmt: skip
    findings = findings_of(StudySpec(name="matrix"), made, with_importances=False)
    path = tmp_path / "report.html"
    table = matrix_table(rows_of(cells, made), spec=StudySpec())
    path.write_text(report_html(ReportInputs(findings=findings, matrix=table)), encoding="utf-8")
    shown = Watched(browser, path, width=width, scheme=scheme)
    beyond = shown.page.locator("#matrix .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert beyond == 0
    assert shown.overflow == 0
    assert shown.page.locator("#front h2").inner_text() == "Objectives"
    assert shown.page.locator("#front .dot.bad").count() == 0
    assert f"{len(made)} measured" in shown.page.locator("header").inner_text()
    shown.close()
