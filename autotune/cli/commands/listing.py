"""`autotune list`: the studies here; it loads no more than it needs, for it is typed often."""

from datetime import UTC, datetime

from rich.console import Console

from autotune.cli.stored import StoredStudy, stored_study, study_names
from autotune.cli.warnings import warn
from autotune.errors import AutotuneError
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, TrialKind
from autotune.report.exports.folder import written_trial
from autotune.report.quantities import DASH
from autotune.report.table import Cell, Column, Table, Tone, to_rich


def list_studies() -> None:
    """List the studies under the current directory.

    Example: autotune list
    """
    columns = (
        Column(head="name"),
        Column(head="kind"),
        Column(head="trials", align="right"),
        Column(head="answer"),
        Column(head="changed"),
        Column(head="model", fold=True),
        Column(head="engine"),
    )
    rows, errors = [], []
    for name in study_names():
        try:
            rows.append(_listed(stored_study(name)))
        except AutotuneError as error:  # one broken study must not hide the others
            cells = [Cell.of(DASH, Tone.MUTED)] * (len(columns) - 2)
            rows.append((Cell.of(name), Cell.of("unreadable", Tone.BAD), *cells))
            errors.append(f"{name}: {error.message}")
    console = Console(highlight=False)
    notes = ("Trials: those that were measured, of all.",) if rows else ()
    console.print(to_rich(Table(title="Studies", columns=columns, rows=tuple(rows), notes=notes)))
    warn(console, errors)


def _listed(study: StoredStudy) -> tuple[Cell, ...]:
    counts = [r.outcome.status for r in study.records]
    is_simulated = any(record.simulated for record in study.records)
    is_matrix = any(record.kind is TrialKind.MATRIX for record in study.records)
    return (
        Cell.of(study.paths.name),
        Cell.of("matrix" if is_matrix else "study"),
        Cell.of(f"{counts.count(OutcomeStatus.MEASURED)}/{len(counts)}"),
        Cell.of(_answer(study)),
        Cell.of(_last_change(study.paths)),
        Cell.of(study.spec.model),
        Cell.of("simulated" if is_simulated else study.spec.engine.name),
    )


def _last_change(paths: StudyPaths) -> str:
    """The day, here, on which a trial last ended or the study was written."""
    written = [paths.spec, *paths.trials.glob("*/trial.json")]
    last_s = max(path.stat().st_mtime for path in written if path.exists())
    return datetime.fromtimestamp(last_s, tz=UTC).astimezone().date().isoformat()


def _answer(study: StoredStudy) -> str:
    """The trial that was recommended last, as its files say; choosing anew would take seconds."""
    number = written_trial(study.paths.recommended)
    chosen = next((r for r in study.records if r.number == number), None)
    if chosen is None:
        return DASH
    return f"trial {chosen.number}" if chosen.configuration.items else "defaults"
