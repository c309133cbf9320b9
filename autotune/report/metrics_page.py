"""The page `docs/metrics.md`, out of the metric declarations.

    python -m autotune.report.metrics_page [FILE]

writes it; a test holds the committed page against the declarations.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autotune.metrics import METRICS, Direction, Metric
from autotune.report.matrix_rows import TESTS
from autotune.report.quantities import DASH
from autotune.report.table import Cell, Column, Table, to_markdown

PAGE: Final = Path("docs/metrics.md")

_BETTER: Final = {Direction.HIGHER: "higher", Direction.LOWER: "lower", Direction.NEITHER: DASH}

_INTRODUCTION: Final = """\
# What is measured, and how

<!-- Written by `python -m autotune.report.metrics_page`; change autotune/metrics.py instead. -->

Every figure is declared once, in `autotune/metrics.py`. Values are stored raw, in the unit of this
page (nanoseconds, bytes, tokens); tables and reports convert them for display. What could not be
measured is stored as nothing and shown as a dash, never as 0. `autotune metrics` prints the same
list; each tag can be an objective or a limit of a study.

TTFT is the time from sending a request to its first chunk with content. Requests are streamed;
token counts are the server's own (`usage`), not guesses from text.
"""

_OTHERS: Final = {
    "correctness": "Correctness gate",
    "capacity": "Capacity within an SLO",
}


def metrics_page() -> str:
    """The page as Markdown: one table per probe, in the order of the declarations."""
    probes = dict.fromkeys(metric.probe for metric in METRICS.values())
    tests = {probe: f"Test {number}: {title}" for number, (probe, title) in TESTS.items()}
    parts = [_INTRODUCTION]
    for probe in probes:
        title = f"{tests.get(probe) or _OTHERS.get(probe, probe)} (`{probe}`)"
        metrics = [metric for metric in METRICS.values() if metric.probe == probe]
        parts.append(f"\n## {title}\n\n{to_markdown(_table(metrics), level=0)}")
    return "".join(parts)


def _table(metrics: Sequence[Metric]) -> Table:
    return Table(
        title="",
        columns=(
            Column(head="metric"),
            Column(head="tag"),
            Column(head="unit"),
            Column(head="better"),
            Column(head="how it comes about"),
            Column(head="after"),
        ),
        rows=tuple(
            (
                Cell.of(metric.title),
                Cell.of(metric.tag),
                Cell.of(metric.unit.value),
                Cell.of(_BETTER[metric.direction]),
                Cell.of(metric.formula),
                Cell.of(metric.source),
            )
            for metric in metrics
        ),
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(metrics_page(), encoding="utf-8")
