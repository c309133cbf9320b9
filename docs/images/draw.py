"""Draws the pictures of the documentation from a study.

    python docs/images/draw.py STUDY_FOLDER

writes `pareto.svg` and, with a Chromium on the PATH, screenshots of the report, of the dashboard
and of the terminal half-way through the study beside this file.
"""

import io
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from autotune.analysis.front import front_numbers
from autotune.cli.live import LiveView
from autotune.clock import VirtualClock
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.dashboard_pages import dashboard_pages
from autotune.report.evidence import read_telemetry
from autotune.report.findings import findings_of
from autotune.report.html import write_report
from autotune.report.picture import pareto_picture
from autotune.seams.events import PhaseStarted, TelemetrySeen, TrialEnded, TrialStarted
from autotune.spec.study import StudySpec
from autotune.store import TrialStore, read_stored_study
from autotune.study.budget import duration_ns
from autotune.study.dashboard import dashboard_app
from autotune.study.dashboard_server import make_server
from autotune.units import s_from_ns

HERE: Final = Path(__file__).resolve().parent
PARTS: Final = {"front": "#front .tabs", "effects": "#effects", "failures": "#failures"}
TERMINAL: Final = (100, 30)
"""Columns and lines."""
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def main(folder: Path) -> None:
    """Write every picture."""
    paths = StudyPaths(folder.resolve())
    spec, _ = read_stored_study(paths)
    records = TrialStore(paths, spec.name).records()
    picture = pareto_picture(findings_of(spec, records, with_importances=False))
    (HERE / "pareto.svg").write_text(picture, encoding="utf-8")
    report = write_report(paths, spec, records)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on the PATH: no screenshots were taken")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        desk(browser, report)
        phone(browser, report)
        terminal(browser, paths, spec, records)
        with dashboard(paths, spec) as url:
            study_page(browser, url)
        browser.close()


def desk(browser: Browser, report: Path) -> None:
    """1280 pixels wide, light: the top, the front, the effects, and an open trial."""
    page = browser.new_page(viewport={"width": 1280, "height": 1080}, color_scheme="light")
    page.goto(report.as_uri())
    page.screenshot(path=HERE / "report.png")
    page.add_style_tag(content=".banner{position:static}")
    for name, part in PARTS.items():
        page.locator(part).first.screenshot(path=HERE / f"report-{name}.png")
    page.locator(".plot.wide .dot.best[data-trial]").first.click()
    page.screenshot(path=HERE / "report-trial.png")


def phone(browser: Browser, report: Path) -> None:
    """390 pixels wide, dark: the top."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(report.as_uri())
    page.screenshot(path=HERE / "report-phone.png")
    page.locator(".comparison").scroll_into_view_if_needed()
    page.locator("#recommended h3").scroll_into_view_if_needed()
    page.screenshot(path=HERE / "report-phone-comparison.png")


def terminal(
    browser: Browser, paths: StudyPaths, spec: StudySpec, records: Sequence[TrialRecord]
) -> None:
    """The live view as it was half-way, told again from the records."""
    columns, lines = TERMINAL
    clock = VirtualClock()
    unseen = Console(width=columns, height=lines, file=io.StringIO())
    view = LiveView(unseen, clock=clock, objectives=spec.objectives, study=spec.name,
                    simulated=records[0].simulated, screen_clock=VirtualClock())  # fmt: skip
    half = len(records) // 2
    for record in records[:half]:
        begin(view, record, total=len(records))
        clock.advance(s_from_ns(duration_ns(record)))
        left_s = sum(s_from_ns(duration_ns(r)) for r in records[record.number + 1 :])
        front = front_numbers(records[: record.number + 1], spec.objectives)
        view(TrialEnded(record=record, front=front, remaining_s=left_s))
    running = records[half]
    begin(view, running, total=len(records))
    clock.advance(s_from_ns(duration_ns(running)) / 2)
    view(PhaseStarted(number=half, phase="probe:throughput", at_ns=clock.now_ns()))
    clock.advance(12)
    seen = read_telemetry(paths.trial(half).telemetry)[-1]
    view(TelemetrySeen(number=half, values=seen.values))
    shown = Console(width=columns, height=lines, file=io.StringIO(), record=True)
    shown.print(view.render())
    drawn = re.sub(r"@font-face \{[^}]*\}", "", shown.export_svg(title="autotune study"))
    page = browser.new_page(viewport={"width": 1010, "height": 620})
    page.set_content(f'<body style="margin:0">{drawn}</body>')
    page.locator("svg").first.screenshot(path=HERE / "live.png")


def begin(view: LiveView, record: TrialRecord, *, total: int) -> None:
    """A trial starts."""
    view(
        TrialStarted(
            number=record.number,
            kind=record.kind,
            label=record.label,
            configuration=record.configuration,
            trials_done=record.number,
            trials_total=total,
        )
    )


@contextmanager
def dashboard(paths: StudyPaths, spec: StudySpec) -> Iterator[str]:
    """The study's dashboard on a free port; gives the address of the study's page."""
    app = dashboard_app(paths, dashboard_pages(paths, spec))
    with make_server(app, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dashboard/studies/1"
        finally:
            server.shutdown()
            thread.join()


def study_page(browser: Browser, url: str) -> None:
    """1280 pixels wide, once its front is drawn; optuna-dashboard is not made for a phone."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url)
    page.locator(".scatterlayer .points path").first.wait_for(timeout=120_000)
    page.screenshot(path=HERE / "dashboard.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
