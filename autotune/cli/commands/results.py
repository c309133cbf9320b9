"""Looking at a study that was run: `show`, `recommend`."""

import shlex
import sys
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter
from rich.console import Console

from autotune.cli.conclude import conclude, summarise, warnings_of
from autotune.cli.json_lines import record_as_json, result_line
from autotune.cli.options import JsonOption, NameArgument, PreferOption
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.verdict import print_verdict
from autotune.cli.warnings import warn
from autotune.records import TrialRecord
from autotune.report.table import to_rich
from autotune.report.trial_whole import metrics_table, trial_settings_table
from autotune.report.untrusted import clean, one_line
from autotune.store import write_preference

_RECORD: Final = TypeAdapter(TrialRecord)

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace exported files that were changed since.")
]


def show(
    name: NameArgument = "default",
    trial: Annotated[int | None, typer.Option("--trial", help="One trial, with its log.")] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Show a study's trials, front and recommendation, or one trial whole; writes nothing.

    Example: autotune show default --trial 7
    """
    study = stored_study(name)
    console = Console(file=sys.stdout, highlight=False)
    if trial is not None and json:
        typer.echo(_trial_as_json(study, trial))
    elif trial is None:
        summary = summarise(study.spec, study.paths, study.records, damaged=study.damaged)
        if json:
            records = list(map(record_as_json, summary.findings.records))
            typer.echo(summary.as_json({"records": records}))
        else:
            summary.print(console)
    else:
        _show_trial(study, trial, console)


def _trial_as_json(study: StoredStudy, number: int) -> str:
    """A record whole, by its own names, and where its log is."""
    record = study.trial(number)
    log = study.paths.trial(number).log
    return result_line({
        "study": study.spec.name,
        "record": {
            **_RECORD.dump_python(record, mode="json"),
            "configuration": record.configuration.values,
        },
        "warnings": list(warnings_of(study.paths, record)),
        "log": str(log) if log.exists() else None,
    })  # fmt: skip


def _show_trial(study: StoredStudy, number: int, console: Console) -> None:
    """Settings, figures, why it failed, notes, the command, and where its log is."""
    record = study.trial(number)
    for table in (trial_settings_table(record), metrics_table(record)):
        if table.rows or table.notes:
            console.print(to_rich(table))
            console.print()
    failure = record.outcome.failure
    lines = [record.outcome.status.value]
    if failure is not None:
        lines = [f"{lines[0]}: {failure.kind.value}: {one_line(failure.message)}"]
        lines += [f"  {clean(line)}" for line in failure.evidence]
    lines += [f"{p.probe}: {clean(note)}" for p in record.probes for note in p.notes]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    warn(console, warnings_of(study.paths, record)[failure is not None :])
    if record.command:
        command = shlex.join(map(one_line, record.command))
        console.print(f"command: {command}", markup=False, soft_wrap=True)
    log = study.paths.trial(number).log
    told = log if log.exists() else "none, for it was never started"
    console.print(f"log: {told}", markup=False, soft_wrap=True)


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
        console = Console(file=sys.stdout, highlight=False)
        print_verdict(console, summary, study.paths)
        for path in () if summary.written is None else summary.written.files:
            console.print(f"written:  {path}", markup=False, soft_wrap=True)
    summary.require_feasible()
