"""`autotune export`: a trial as files that can be started."""

from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.commands.results import ForceOption
from autotune.cli.conclude import Summary, exported_path, service_of, summarise, warnings_of
from autotune.cli.options import NameArgument
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.warnings import warn
from autotune.records import TrialRecord
from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.write import FORMATS, Format
from autotune.report.exports.write import export as export_service


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
    force: ForceOption = False,
) -> None:
    """Write a trial as something that can be started: compose, .env, command, kubernetes, systemd.

    Example: autotune export default --format kubernetes
    """
    study = stored_study(name)
    summary = summarise(study.spec, study.paths, study.records, damaged=study.damaged)
    record = _record(study, summary, trial)
    service = service_of(study.spec, study.paths, record, summary.recommendation)
    release = record.environment.get("engine_release")
    warn(Console(stderr=True), (*study.damaged, *warnings_of(study.paths, record)))
    if stdout:
        for made in export_service(service, form, release=release):
            typer.echo(made.text)
        return
    folder = exported_path(study.paths, record, recommended=trial is None)
    written = write_recommendation(folder, service, forms=(form,), release=release, force=force)
    for path in written.files:
        typer.echo(f"written: {path}")
    for note in written.notes:
        typer.echo(note)


def _record(study: StoredStudy, summary: Summary, trial: int | None) -> TrialRecord:
    """The trial that was asked for, else the recommended one.

    Raises:
        UsageError: If there is no such trial.
        NothingFeasibleError: If nothing can be recommended.
    """
    if trial is not None:
        return study.trial(trial)
    summary.require_feasible()
    if summary.recommendation is None:
        raise AssertionError(study.paths.name)  # `require_feasible` returns only with one
    return summary.recommendation.record
