"""The report in a real headless browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from autotune.records import Failure, FailureKind
from autotune.report.findings import findings_of
from autotune.report.html import report_html
from autotune.report.inputs import ReportInputs
from autotune.spec.study import StudySpec
from tests.support.records import record, study_records, telemetry

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
HOSTILE = "</script><img src=x onerror=document.title='owned'>"


def chromium() -> str | None:
    """A Chromium of this machine; none is downloaded."""
    return next((p for n in ("chromium", "chromium-browser", "google-chrome")
                 if (p := shutil.which(n)) is not None), None)  # fmt: skip


pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of 60 trials, one of which has a hostile log."""
    failure = Failure(
        kind=FailureKind.GPU_OOM_GRAPHS, phase="starting", message=HOSTILE, evidence=(HOSTILE,)
    )
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


class Watched:
    """A page whose complaints and requests are kept."""

    def __init__(self, browser: Browser, report: Path, *, width: int, scheme: str) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())

    def close(self) -> None:
        """Give the context back."""
        self.page.context.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desk", "phone"])
def watched(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The report on a desk and on a phone."""
    width, scheme = request.param
    found = Watched(browser, report, width=width, scheme=scheme)
    yield found
    found.close()


def visible(watched: Watched) -> str:
    """Class of the plots that this width shows."""
    size = watched.page.viewport_size
    return "wide" if size is not None and size["width"] > 640 else "narrow"


def test_it_opens_without_complaint_and_without_the_network(watched: Watched) -> None:
    """No console message, no error, one request: the file itself; nothing sticks out sideways."""
    assert watched.complaints == []
    assert watched.requests == [watched.page.url]
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert watched.page.evaluate(overflow) == 0


def test_no_objective_of_the_front_is_cut_off(watched: Watched) -> None:
    """On a phone too the table needs no scrolling sideways."""
    beyond = watched.page.locator("#front .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
    assert beyond == 0


def test_a_point_opens_its_trial(watched: Watched) -> None:
    """Configuration, figures, and the end of the log; Escape closes it."""
    page = watched.page
    point = page.locator(f".plot.{visible(watched)} .dot[data-trial]").first
    number = point.get_attribute("data-trial")
    point.click()
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    text = dialog.inner_text()
    assert f"Trial {number}:" in text
    assert "Output throughput" in text
    assert f"log of {number}" in text
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert watched.complaints == []


def test_a_hint_follows_the_pointer_and_the_keyboard(watched: Watched) -> None:
    """Hovering and focusing both tell a point's figures; Enter opens it."""
    page = watched.page
    point = page.locator(f".plot.{visible(watched)} .dot[data-trial]").first
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
