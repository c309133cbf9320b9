"""`autotune metrics`: every metric that is measured, and how."""

import sys
from typing import Final

from rich.console import Console

from autotune.metrics import METRICS, Direction, Metric
from autotune.report.table import Cell, Column, Table, to_rich

_ARROWS: Final = {Direction.HIGHER: " ↑", Direction.LOWER: " ↓", Direction.NEITHER: ""}


def metrics() -> None:
    """List every metric by probe: tag, unit, which way is better, formula.

    Example: autotune metrics
    """
    console = Console(file=sys.stdout, highlight=False)
    for probe in dict.fromkeys(metric.probe for metric in METRICS.values()):
        console.print(to_rich(of_probe(probe)))
        console.print()


def of_probe(probe: str) -> Table:
    """The metrics of one probe; a tag stays on one line on 80 columns, so it can be copied."""
    return Table(
        title=f"Probe {probe}",
        columns=(
            Column(head="metric", fold=True, least=max(map(len, METRICS))),
            Column(head="unit", fold=True, least=max(len(_unit(m)) for m in METRICS.values())),
            Column(head="formula", fold=True),
        ),
        rows=tuple(
            (Cell.of(metric.tag), Cell.of(_unit(metric)), Cell.of(metric.formula))
            for metric in METRICS.values()
            if metric.probe == probe
        ),
    )


def _unit(metric: Metric) -> str:
    return f"{metric.unit.value}{_ARROWS[metric.direction]}"
