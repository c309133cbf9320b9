"""`autotune list`: the studies here; it loads no more than it needs, for it is typed often."""

from rich.console import Console

from autotune.cli.stored import StoredStudy, stored_study, study_names
from autotune.cli.warnings import warn
from autotune.errors import AutotuneError
from autotune.records import OutcomeStatus
from autotune.report.quantities import DASH
from autotune.report.table import Cell, Column, Table, Tone, to_rich


def list_studies() -> None:
    """List the studies under the current directory.

    Example: autotune list
    """
    columns = (
        Column(head="study"),
        Column(head="trials", align="right"),
        Column(head="measured", align="right"),
        Column(head="model", fold=True),
        Column(head="engine"),
    )
    rows, errors = [], []
    for name in study_names():
        try:
            rows.append(_listed(stored_study(name)))
        except AutotuneError as error:  # one broken study must not hide the others
            cells = [Cell.of(DASH, Tone.MUTED)] * (len(columns) - 2)
            rows.append((Cell.of(name), *cells, Cell.of("unreadable", Tone.BAD)))
            errors.append(f"{name}: {error.message}")
    console = Console(highlight=False)
    console.print(to_rich(Table(title="Studies", columns=columns, rows=tuple(rows))))
    warn(console, errors)


def _listed(study: StoredStudy) -> tuple[Cell, ...]:
    counts = [r.outcome.status for r in study.records]
    is_simulated = any(record.simulated for record in study.records)
    return (
        Cell.of(study.paths.name),
        Cell.of(len(counts)),
        Cell.of(counts.count(OutcomeStatus.MEASURED)),
        Cell.of(study.spec.model),
        Cell.of("simulated" if is_simulated else study.spec.engine.name),
    )
