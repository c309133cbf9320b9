"""`autotune metrics`: every metric that is measured, and how."""

from rich.console import Console

from autotune.metrics import METRICS, Direction
from autotune.report.table import Cell, Column, Table, to_rich

_ARROWS = {Direction.HIGHER: "up", Direction.LOWER: "down", Direction.NEITHER: "-"}


def metrics() -> None:
    """List every metric: tag, unit, which way is better, formula.

    Example: autotune metrics
    """
    rows = tuple(
        (
            Cell.of(metric.tag),
            Cell.of(metric.unit.value),
            Cell.of(_ARROWS[metric.direction]),
            Cell.of(metric.probe),
            Cell.of(metric.formula),
        )
        for metric in METRICS.values()
    )
    columns = (
        Column(head="metric"),
        Column(head="unit"),
        Column(head="better"),
        Column(head="probe"),
        Column(head="formula", fold=True),
    )
    Console(highlight=False).print(to_rich(Table(title="Metrics", columns=columns, rows=rows)))
