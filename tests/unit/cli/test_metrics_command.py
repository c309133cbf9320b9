"""`autotune metrics` on a narrow terminal."""

import io

from rich.console import Console

from autotune.cli.commands.metrics import of_probe
from autotune.metrics import METRICS
from autotune.report.table import to_rich


def test_no_tag_is_broken_on_80_columns() -> None:
    """Each stands whole, first on a line of its probe's table."""
    for metric in METRICS.values():
        console = Console(width=80, file=io.StringIO())
        console.print(to_rich(of_probe(metric.probe)))
        assert isinstance(console.file, io.StringIO)
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        assert [line for line in lines if line.split()[:1] == [metric.tag]]
