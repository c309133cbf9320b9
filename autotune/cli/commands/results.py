"""Looking at studies that were run: `list`, `show`, `recommend`, `export`."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.conclude import conclude, service_of
from autotune.cli.options import JsonOption, NameArgument, PreferOption
from autotune.cli.stored import stored_study, study_names
from autotune.records import OutcomeStatus
from autotune.report.exports.write import FORMATS, Format
from autotune.report.exports.write import export as export_service
from autotune.report.table import Cell, Column, Table, to_rich
from autotune.report.tables import any_simulated, metrics_table
from autotune.report.untrusted import clean
from autotune.store.files import write_atomically


def list_studies() -> None:
    """List the studies under the current directory.

    Example: autotune list
    """
    rows = []
    for name in study_names():
        study = stored_study(name)
        counts = [r.outcome.status for r in study.records]
        rows.append(
            (
                Cell.of(name),
                Cell.of(len(counts)),
                Cell.of(counts.count(OutcomeStatus.MEASURED)),
                Cell.of(study.spec.model),
                Cell.of("simulated" if any_simulated(study.records) else study.spec.engine.name),
            )
        )
    columns = (
        Column(head="study"),
        Column(head="trials", align="right"),
        Column(head="measured", align="right"),
        Column(head="model", fold=True),
        Column(head="engine"),
    )
    Console(highlight=False).print(
        to_rich(Table(title="Studies", columns=columns, rows=tuple(rows)))
    )


def show(
    name: NameArgument = "default",
    trial: Annotated[int | None, typer.Option("--trial", help="One trial, with its log.")] = None,
) -> None:
    """Show a study's trials, front and recommendation, or one trial whole.

    Example: autotune show default --trial 7
    """
    study = stored_study(name)
    console = Console(file=sys.stdout, highlight=False)
    if trial is None:
        conclude(study.spec, study.paths, study.records).print(console)
        return
    record = study.trial(trial)
    console.print(to_rich(metrics_table(record)))
    failure = record.outcome.failure
    if failure is not None:
        console.print(f"{record.outcome.status.value}: {failure.kind.value}: {failure.message}",
                      markup=False)  # fmt: skip
        for line in failure.evidence:
            console.print(f"  {clean(line)}", markup=False, soft_wrap=True)
    for probe in record.probes:
        for note in probe.notes:
            console.print(f"{probe.probe}: {clean(note)}", markup=False, soft_wrap=True)
    console.print(f"log: {study.paths.trial(trial).log}", markup=False, soft_wrap=True)


def recommend(
    name: NameArgument = "default", prefer: PreferOption = None, *, json: JsonOption = False
) -> None:
    """Choose again from what was measured, by another preference, and write the recommendation.

    Example: autotune recommend default --prefer latency
    """
    study = stored_study(name)
    summary = conclude(study.spec, study.paths, study.records, prefer=prefer)
    if json:
        typer.echo(summary.as_json())
    else:
        summary.print(Console(file=sys.stdout, highlight=False))
    summary.require_feasible()


def export(
    name: NameArgument = "default",
    trial: Annotated[
        int | None, typer.Option("--trial", help="Which trial; default: the recommended one.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "compose",
    *,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print instead of writing.")] = False,
) -> None:
    """Write a trial as something that can be started: compose, .env, command, kubernetes, systemd.

    Example: autotune export default --format kubernetes
    """
    study = stored_study(name)
    summary = conclude(study.spec, study.paths, study.records)
    if trial is None:
        summary.require_feasible()
    chosen = summary.recommendation
    if trial is not None or chosen is None:
        record = study.trial(trial if trial is not None else -1)
    else:
        record = chosen.record
    service = service_of(study.spec, study.paths, record, chosen)
    release = record.environment.get("engine_release")
    for made in export_service(service, form, release=release):
        if stdout:
            typer.echo(made.text)
            continue
        folder = (
            study.paths.recommended
            if trial is None
            else (study.paths.trial(record.number).root / "export")
        )
        write_atomically(folder / made.name, made.text)
        if made.executable:
            (folder / made.name).chmod(0o755)
        typer.echo(f"written: {folder / made.name}")
