"""`autotune report`: one page that answers what was found, why, and how sure it is."""

from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.options import NameArgument
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.today import today
from autotune.cli.warnings import warn
from autotune.errors import SpecError, UsageError
from autotune.paths import declared_file
from autotune.records import TrialKind
from autotune.report.html import write_report
from autotune.report.matrix_rows import cells_of, rows_of
from autotune.report.matrix_table import matrix_table
from autotune.report.table import Table
from autotune.spec.matrix import read_matrix
from autotune.store import read_resolution


def report(
    name: NameArgument = "default",
    matrix: Annotated[
        str | None, typer.Option("--matrix", help="Name of a matrix that was run: its table.")
    ] = None,
) -> None:
    """Write a study's report as one HTML page that needs no network.

    Example: autotune report default
    """
    study = stored_study(name)
    table = matrix_of(study if matrix is None else stored_study(matrix))
    path = write_report(
        study.paths,
        study.spec,
        study.records,
        matrix=table,
        written=today(),
        damaged=study.damaged,
    )
    warn(Console(stderr=True), study.damaged)
    typer.echo(f"written: {path}")


def matrix_of(study: StoredStudy) -> Table | None:
    """The matrix table of a study's cells; None if it has none."""
    cells = [record for record in study.records if record.kind is TrialKind.MATRIX]
    if not cells:
        return None
    try:
        declared = read_matrix(declared_file("studies", "matrix")).configurations
    except (SpecError, UsageError):
        declared = {}  # no such file here, or no whole one: the records tell their cells
    fragile = read_resolution(study.paths).fragile
    return matrix_table(rows_of(cells_of(declared, cells), cells, fragile), spec=study.spec)
