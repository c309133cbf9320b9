"""`autotune study`: search, to a Pareto front and a recommended configuration."""

import sys
from dataclasses import replace

import typer
from rich.console import Console

from autotune.cli.conclude import conclude
from autotune.cli.knowledge import Knowledge, knowledge_for
from autotune.cli.options import (
    DeployerOption,
    EngineOption,
    FreshOption,
    FromOption,
    ImageOption,
    JsonOption,
    ModelOption,
    NameOption,
    PreferOption,
    QuietOption,
    SeedOption,
    StudyArgument,
    TimeoutOption,
    TrialsOption,
    load_study,
    source_overrides,
    study_overrides,
)
from autotune.cli.refused import no_trace_of_a_refusal
from autotune.cli.running import (
    announce,
    changes,
    gpu_locks,
    open_study,
    require_space,
    say,
)
from autotune.cli.stopped import told_when_stopped
from autotune.cli.today import today
from autotune.cli.verdict import print_verdict
from autotune.cli.views import View, make_view
from autotune.cli.wiring import Workbench
from autotune.deployers.marks import owner
from autotune.records import Configuration
from autotune.report.html import write_report
from autotune.seams.events import Notice
from autotune.store import (
    StudyLock,
    TrialStore,
    ensure_same_study,
    forget_preference,
    read_stored_study,
    write_resolution,
    write_study,
)
from autotune.study.ask_tell import AskTell
from autotune.study.drift_watch import DriftWatch
from autotune.study.loop import StudyEnd, run_study
from autotune.study.proposals import Known, proposer_for
from autotune.study.staged import Staged
from autotune.trial.lifecycle import Trials


def study(
    study: StudyArgument = "default",
    trials: TrialsOption = None,
    model: ModelOption = None,
    engine: EngineOption = None,
    deployer: DeployerOption = None,
    image: ImageOption = None,
    name: NameOption = None,
    seed: SeedOption = None,
    timeout: TimeoutOption = None,
    prefer: PreferOption = None,
    source: FromOption = None,
    *,
    fresh: FreshOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search for the best configuration; the same command goes on with a study that stopped.

    Example: autotune study rtx5070 --trials 40
    """
    overrides = study_overrides(trials, model, engine, deployer, image, name, seed, timeout, prefer)
    overrides |= source_overrides(source, fresh=fresh)
    opened = open_study(load_study(study, overrides))
    workbench = opened.workbench
    spec, paths = workbench.spec, workbench.paths
    require_space(workbench)
    if not json:
        say(Console(stderr=True), opened.banner)
    knowledge = knowledge_for(workbench, source=spec.source, fresh=spec.fresh)
    no_trace = no_trace_of_a_refusal(paths)
    with StudyLock(paths.lock), no_trace, gpu_locks(workbench):
        ensure_same_study(paths, spec, workbench.space.space)
        before = read_stored_study(paths)[0] if paths.spec.exists() else None
        write_study(paths, knowledge.named(spec, before), workbench.space.space)
        write_resolution(paths, workbench.space, workbench.context.capabilities.warnings)
        if prefer is not None:
            forget_preference(paths)  # one that was chosen earlier, by `recommend`
        store = TrialStore(paths, spec.name)
        view = make_view(
            spec,
            workbench.backend.clock,
            json=json,
            quiet=quiet,
            simulated=workbench.backend.simulated,
            known=store.records(),
        )
        with told_when_stopped(store), view:
            end = run(workbench, view, knowledge)
        resolved = workbench.resolved  # what the reports of later read, for the same words
        summary = conclude(resolved, paths, end.records, reason=end.reason)
        page = write_report(paths, resolved, end.records, written=today())
    if json:
        typer.echo(summary.as_json())
    else:
        print_verdict(Console(file=sys.stdout, highlight=False), summary, paths, page)
    summary.require_feasible()


def run(workbench: Workbench, view: View, knowledge: Knowledge | None = None) -> StudyEnd:
    """Run a study that is locked and written down, to its end.

    Args:
        workbench: The study.
        view: Told of everything.
        knowledge: What the search starts from; None to gather it.
    """
    spec = workbench.spec
    knowledge = knowledge or knowledge_for(workbench, source=spec.source, fresh=spec.fresh)
    spec = knowledge.seeded(spec)
    announce(workbench, view)
    for line in knowledge.said:
        view(Notice(text=line))
    store = TrialStore(workbench.paths, spec.name)
    for line in (line for record in store.records()[-1:] for line in changes(workbench, record)):
        view(Notice(text=line, level="warning"))
    for record in store.records():  # what earlier runs of it have taught the memory model
        workbench.backend.engine.learn(record)
    space = workbench.space.space
    known = Known(prior=knowledge.prior, hints=knowledge.hints)
    proposer = proposer_for(spec, space, known)
    ask_tell = AskTell(spec, space, store, proposer)
    runner = Trials(spec, workbench.paths, workbench.tools(view), owner=owner())

    async def whole() -> StudyEnd:
        for ended in await runner.prepare():
            view(Notice(text=f"left by a dead run and ended: {ended}", level="warning"))
        await preflight(workbench)
        return await run_study(
            spec,
            runner=Staged(runner, proposer),
            store=store,
            ask_tell=ask_tell,
            observer=DriftWatch(view, spec.objectives, store.records()),
            clock=workbench.backend.clock,
        )

    end = workbench.backend.clock.run(whole())
    for line in knowledge.regressions(spec, end.records):
        view(Notice(text=line, level="warning"))
    return end


async def preflight(workbench: Workbench) -> None:
    """Find out what would stop every trial, before the first.

    Raises:
        DeployerError: With the next step as its hint.
    """
    backend = workbench.backend
    port = workbench.spec.port or backend.free_port(workbench.spec.bind_host)
    context = replace(workbench.context, port=port)
    await backend.deployer.preflight(backend.engine.launch_plan(Configuration(), context))
