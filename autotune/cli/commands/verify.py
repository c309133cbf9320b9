"""`autotune verify`: what was exported, started and measured from the exported files."""

import sys
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.conclude import service_of, summarise
from autotune.cli.json_lines import line_of
from autotune.cli.options import JsonOption, NameArgument, QuietOption
from autotune.cli.running import changes, gpu_locks, open_study, say
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.verify.arms import ExportedEngine, asking
from autotune.cli.verify.exported import ExportedFiles, exported_files, require_unchanged
from autotune.cli.verify.preview import Preview, usual_trial_s
from autotune.cli.verify.proof import as_json, require_agreement, sentence, tables, write_proof
from autotune.cli.verify.rounds import DEFAULT, EXPORTED, Arm, measure_rounds
from autotune.cli.verify.verdict import Verification, compared_default, judge
from autotune.cli.views import View, make_view
from autotune.cli.warnings import warn
from autotune.cli.wiring import Workbench
from autotune.deployers.marks import owner
from autotune.errors import UsageError
from autotune.records import TrialRecord
from autotune.report.table import to_rich
from autotune.seams.deployment import LaunchPlan
from autotune.seams.events import Notice
from autotune.store import StudyLock, TrialStore
from autotune.study.settled import planned_baseline
from autotune.trial.lifecycle import Trials


def verify(
    name: NameArgument = "default",
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Deployments of each: exported and default.")
    ] = 3,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be started; start nothing.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Start the exported files as they are and measure them beside the default.

    Example: autotune verify default --repeats 3
    """
    study = stored_study(name)
    if study.is_matrix:
        message = f"{name!r} is a matrix: it recommends nothing that could be verified"
        raise UsageError(message, hint="`autotune study` recommends, and writes its files.")
    files = exported_files(study.paths.recommended, deployer=study.spec.engine.deployer or "")
    trial = study.trial(files.trial)
    require_unchanged(files, service_of(study.spec, study.paths, trial))
    warn(Console(stderr=True), (*study.damaged, *not_the_latest(study, files)))
    if dry_run:
        told = preview(study, files, repeats)
        typer.echo(line_of(told.as_json()) if json else "\n".join(told.lines))
        return
    opened = open_study(study.spec)
    workbench = opened.workbench
    if not json:
        say(Console(stderr=True), opened.banner)
    with StudyLock(study.paths.lock), gpu_locks(workbench):
        view = make_view(
            study.spec,
            workbench.backend.clock,
            json=json,
            quiet=quiet,
            simulated=workbench.backend.simulated,
        )
        with view:
            found = run(workbench, study, files, trial, repeats, view)
        digests = files.digests()
        proof = write_proof(study.paths.recommended, name, found, digests)
    if json:
        written = {"event": "result", **as_json(name, found, digests)}
        written["proof"] = [str(path) for path in proof]
        typer.echo(line_of(written))
    else:
        show(found)
        typer.echo("written: " + ", ".join(map(str, proof)))
    require_agreement(name, found, proof[0])


def preview(study: StoredStudy, files: ExportedFiles, repeats: int) -> Preview:
    """What would be started, on the port that the study names or 8000."""
    return Preview(
        files=files,
        command=files.plan(study.spec.port or 8000).argv,
        default=compared_default(study.records),
        repeats=repeats,
        trial_s=usual_trial_s(study.records),
    )


def not_the_latest(study: StoredStudy, files: ExportedFiles) -> tuple[str, ...]:
    """That the files are not of the configuration which would be recommended today.

    Another trial of it, or one that ran alike, is as good.
    """
    findings = summarise(study.spec, study.paths, study.records).findings
    found = findings.recommendation
    theirs = next(r for r in findings.records if r.number == files.trial)
    if found is None or found.configuration == theirs.configuration:
        return ()
    latest = found.record.number
    text = f"{files.start} is of trial {files.trial}; trial {latest} is recommended by now: "
    return (text + f"`autotune recommend {study.paths.name}` writes it",)


def run(
    workbench: Workbench,
    study: StoredStudy,
    files: ExportedFiles,
    trial: TrialRecord,
    repeats: int,
    view: View,
) -> Verification:
    """Measure both arms of a study that is locked, and compare."""
    spec, backend = workbench.spec, workbench.backend
    tools = workbench.tools(view)
    from_files = replace(
        tools, engine=ExportedEngine(tools.engine, files.plan), connect=asking(tools.connect)
    )
    by_engine = Trials(spec, study.paths, tools, owner=owner())
    by_files = Trials(spec, study.paths, from_files, owner=owner())
    default = compared_default(study.records)
    if default is None:  # it was never measured
        default = planned_baseline(spec, by_engine, view).configuration
    for line in changes(workbench, trial):
        view(Notice(text=line, level="warning"))

    async def whole() -> tuple[TrialRecord, ...]:
        for ended in await by_engine.prepare():
            view(Notice(text=f"left by a dead run and ended: {ended}", level="warning"))
        await by_files.prepare()
        port = spec.port or backend.free_port(spec.bind_host)
        plan = files.plan(port)
        make_folders(plan)
        await backend.deployer.preflight(plan)
        return await measure_rounds(
            Arm(label=DEFAULT, configuration=default, runner=by_engine),
            Arm(label=EXPORTED, configuration=trial.configuration, runner=by_files),
            spec,
            repeats=repeats,
            store=TrialStore(study.paths, spec.name),
            observer=view,
        )

    made = backend.clock.run(whole())
    return judge(study.records, made, trial, default, spec)


def make_folders(plan: LaunchPlan) -> None:
    """Make the folders that compose would make (`create_host_path`)."""
    for mount in plan.mounts:
        if not mount.read_only:
            mount.source.expanduser().mkdir(parents=True, exist_ok=True)


def show(found: Verification) -> None:
    """Print the tables and what they come to."""
    console = Console(file=sys.stdout, highlight=False)
    for table in tables(found):
        console.print(to_rich(table))
        console.print()
    console.print(sentence(found), markup=False, style="bold")
