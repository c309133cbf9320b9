"""Looking at studies that were run: `list`, `show`, `recommend`."""

import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.conclude import conclude, summarise, warnings_of
from autotune.cli.options import JsonOption, NameArgument, PreferOption
from autotune.cli.stored import StoredStudy, stored_study, study_names
from autotune.cli.warnings import warn
from autotune.errors import AutotuneError
from autotune.records import OutcomeStatus
from autotune.report.quantities import DASH
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.report.tables import any_simulated
from autotune.report.trial_tables import metrics_table, trial_settings_table
from autotune.report.untrusted import clean, one_line
from autotune.store import write_preference

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace exported files that were changed since.")
]


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
    return (
        Cell.of(study.paths.name),
        Cell.of(len(counts)),
        Cell.of(counts.count(OutcomeStatus.MEASURED)),
        Cell.of(study.spec.model),
        Cell.of("simulated" if any_simulated(study.records) else study.spec.engine.name),
    )


def show(
    name: NameArgument = "default",
    trial: Annotated[int | None, typer.Option("--trial", help="One trial, with its log.")] = None,
) -> None:
    """Show a study's trials, front and recommendation, or one trial whole; writes nothing.

    Example: autotune show default --trial 7
    """
    study = stored_study(name)
    console = Console(file=sys.stdout, highlight=False)
    if trial is None:
        summary = summarise(study.spec, study.paths, study.records, damaged=study.damaged)
        summary.print(console)
    else:
        _show_trial(study, trial, console)


def _show_trial(study: StoredStudy, number: int, console: Console) -> None:
    """Settings, figures, why it failed, notes, the command, and where its log is."""
    record = study.trial(number)
    for table in (trial_settings_table(record), metrics_table(record)):
        console.print(to_rich(table))
        console.print()
    failure = record.outcome.failure
    lines = [record.outcome.status.value]
    if failure is not None:
        lines = [f"{lines[0]}: {failure.kind.value}: {failure.message}"]
        lines += [f"  {clean(line)}" for line in failure.evidence]
    lines += [f"{p.probe}: {clean(note)}" for p in record.probes for note in p.notes]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    warn(console, warnings_of(study.paths, record)[failure is not None :])
    if record.command:
        command = shlex.join(map(one_line, record.command))
        console.print(f"command: {command}", markup=False, soft_wrap=True)
    console.print(f"log: {study.paths.trial(number).log}", markup=False, soft_wrap=True)


def recommend(
    name: NameArgument = "default",
    prefer: PreferOption = None,
    *,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Choose again from what was measured, by another preference, and write the recommendation.

    The preference is remembered; files that you changed are kept unless you say --force.

    Example: autotune recommend default --prefer latency
    """
    study = stored_study(name)
    if prefer is not None:
        write_preference(study.paths, prefer)
    summary = conclude(study.spec, study.paths, study.records, damaged=study.damaged, force=force)
    if json:
        typer.echo(summary.as_json())
    else:
        summary.print(Console(file=sys.stdout, highlight=False))
    summary.require_feasible()
