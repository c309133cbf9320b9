"""`autotune list`: the studies here; it loads no more than it needs, for it is typed often."""

from datetime import UTC, datetime
from typing import Final

import typer
from rich.console import Console

from autotune.cli.json_lines import result_line
from autotune.cli.options import JsonOption
from autotune.cli.stored import StoredStudy, stored_study, study_names
from autotune.cli.warnings import warn
from autotune.errors import AutotuneError
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.exports.folder import written_trial
from autotune.report.quantities import DASH
from autotune.report.table import Cell, Column, Table, Tone, to_rich

_MOST_DAMAGED: Final = 3
"""Damaged records of one study that are told one by one."""


def list_studies(*, json: JsonOption = False) -> None:
    """List the studies under the current directory.

    Example: autotune list
    """
    if json:
        typer.echo(result_line({"studies": [_as_json(name) for name in study_names()]}))
        return
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
            study = stored_study(name)
            rows.append(_listed(study))
            errors += [f"{name}: {line}" for line in _few(study)]
        except AutotuneError as error:  # one broken study must not hide the others
            cells = [Cell.of(DASH, Tone.MUTED)] * (len(columns) - 2)
            rows.append((Cell.of(name), Cell.of("unreadable", Tone.BAD), *cells))
            errors.append(f"{name}: {error.message}")
    console = Console(highlight=False)
    notes = ("Trials: those that were measured, of all.",) if rows else ()
    console.print(to_rich(Table(title="Studies", columns=columns, rows=tuple(rows), notes=notes)))
    warn(console, errors)


def _few(study: StoredStudy) -> tuple[str, ...]:
    """Its damaged records; of many the first, and where the others are told."""
    if len(study.damaged) <= _MOST_DAMAGED:
        return study.damaged
    more = f"{len(study.damaged) - 1} more; `autotune show {study.paths.name}` names each"
    return study.damaged[0], more


def _as_json(name: str) -> dict[str, object]:
    """A study by the names of its file and records; a broken one by what is wrong."""
    try:
        study = stored_study(name)
    except AutotuneError as error:
        return {"study": name, "error": error.message}
    chosen = _recommended(study)
    return {
        "study": name,
        "kind": _kind(study),
        "trials": len(study.records),
        "measured": _measured(study),
        "recommended": None if chosen is None else chosen.number,
        "changed": _last_change(study.paths),
        "model": study.spec.model,
        "engine": study.spec.engine.name,
        "simulated": _is_simulated(study),
        "damaged": list(study.damaged),
    }


def _listed(study: StoredStudy) -> tuple[Cell, ...]:
    return (
        Cell.of(study.paths.name),
        Cell.of(_kind(study)),
        Cell.of(f"{_measured(study)}/{len(study.records)}"),
        Cell.of(_answer(study)),
        Cell.of(_last_change(study.paths)),
        Cell.of(study.spec.model),
        Cell.of("simulated" if _is_simulated(study) else study.spec.engine.name),
    )


def _kind(study: StoredStudy) -> str:
    return "matrix" if study.is_matrix else "study"


def _measured(study: StoredStudy) -> int:
    return sum(record.is_measured for record in study.records)


def _is_simulated(study: StoredStudy) -> bool:
    return any(record.simulated for record in study.records)


def _last_change(paths: StudyPaths) -> str:
    """The day, here, on which a trial last ended or the study was written."""
    written = [paths.spec, *paths.trials.glob("*/trial.json")]
    last_s = max(path.stat().st_mtime for path in written if path.exists())
    return datetime.fromtimestamp(last_s, tz=UTC).astimezone().date().isoformat()


def _recommended(study: StoredStudy) -> TrialRecord | None:
    """The trial that was recommended last, as its files say; choosing anew would take seconds."""
    number = written_trial(study.paths.recommended)
    return next((r for r in study.records if r.number == number), None)


def _answer(study: StoredStudy) -> str:
    chosen = _recommended(study)
    if chosen is None:
        return DASH
    return f"trial {chosen.number}" if chosen.configuration.items else "defaults"
