"""The generated page of metrics."""

from pathlib import Path

from autotune.metrics import METRICS
from autotune.report.metrics_page import metrics_page
from autotune.report.table import escape_markdown

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_committed_page_is_up_to_date() -> None:
    """If not: python -m autotune.report.metrics_page."""
    assert PAGE.read_text(encoding="utf-8") == metrics_page()


def test_every_metric_is_on_it() -> None:
    """With its tag and formula."""
    page = metrics_page()
    assert len(METRICS) > 40
    for metric in METRICS.values():
        assert escape_markdown(metric.tag) in page
        assert escape_markdown(metric.formula) in page
