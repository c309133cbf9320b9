"""`autotune matrix`: the fixed configurations, each measured with every test."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autotune.cli.commands.study import preflight
from autotune.cli.json_lines import line_of, record_as_json
from autotune.cli.options import (
    DeployerOption,
    EngineOption,
    ImageOption,
    JsonOption,
    ModelOption,
    QuietOption,
    load_matrix,
    load_study,
)
from autotune.cli.refused import no_trace_of_a_refusal
from autotune.cli.running import announce, gpu_locks, open_study, say
from autotune.cli.stopped import told_when_stopped
from autotune.cli.views import View, make_view
from autotune.cli.wiring import Workbench
from autotune.deployers.marks import owner
from autotune.probes import PROBES
from autotune.records import TrialKind, TrialRecord
from autotune.report.matrix_rows import MatrixRow, measured_tests, rows_of
from autotune.report.matrix_table import matrix_csv, matrix_table
from autotune.report.table import SIMULATED, to_markdown, to_rich
from autotune.seams.events import Notice
from autotune.spec.matrix import Cell, tests_from
from autotune.store import (
    StudyLock,
    TrialStore,
    ensure_same_study,
    write_resolution,
    write_study,
)
from autotune.store.files import write_atomically
from autotune.study.matrix import run_matrix
from autotune.trial.lifecycle import Trials


def matrix(
    study: Annotated[
        str, typer.Option("--study", help="Study whose model, engine and workload are used.")
    ] = "default",
    matrix: Annotated[str, typer.Option("--matrix", help="Matrix file.")] = "matrix",
    configs: Annotated[
        str | None, typer.Option("--configs", help="Which: baseline,A,B,MAX. Default: all.")
    ] = None,
    tests: Annotated[str, typer.Option("--tests", help="Which tests: 1-6, or 1,3.")] = "1-6",
    model: ModelOption = None,
    engine: EngineOption = None,
    deployer: DeployerOption = None,
    image: ImageOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the results; default: the matrix's.")
    ] = None,
    *,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure Baseline, A to F and MAX; the same command goes on where it stopped.

    Example: autotune matrix --configs baseline,A,F,MAX --tests 1-6
    """
    declared = load_matrix(matrix)
    cells = declared.select(None if configs is None else [c.strip() for c in configs.split(",")])
    chosen = tests_from(tests)
    spec = load_study(
        study,
        {
            "name": name or declared.name,
            "model": model,
            "engine.name": engine,
            "engine.deployer": deployer,
            "engine.image": image,
        },
    )
    opened = open_study(spec)
    workbench = opened.workbench
    if not json:
        say(Console(stderr=True), opened.banner)
    no_trace = no_trace_of_a_refusal(workbench.paths)
    with StudyLock(workbench.paths.lock), no_trace, gpu_locks(workbench):
        ensure_same_study(workbench.paths, workbench.spec, workbench.space.space)
        write_study(workbench.paths, workbench.spec, workbench.space.space)
        notes = workbench.context.capabilities.warnings
        write_resolution(workbench.paths, workbench.space, notes)
        store = TrialStore(workbench.paths, workbench.spec.name)
        view = make_view(
            workbench.spec,
            workbench.backend.clock,
            json=json,
            quiet=quiet,
            simulated=workbench.backend.simulated,
            known=store.records(),
        )
        with told_when_stopped(store), view:
            run(workbench, view, cells, chosen)
    show(workbench, declared.configurations, chosen, json=json)


def run(
    workbench: Workbench, view: View, cells: dict[str, Cell], tests: tuple[int, ...]
) -> dict[str, TrialRecord]:
    """Run the cells of a matrix that is locked and written down."""
    spec = workbench.spec
    announce(workbench, view)
    runner = Trials(spec, workbench.paths, workbench.tools(view), owner=owner(), measures_all=True)
    probes = tuple(probe for probe, make in PROBES.items() if make().test in tests)

    async def whole() -> dict[str, TrialRecord]:
        for ended in await runner.prepare():
            view(Notice(text=f"left by a dead run and ended: {ended}", level="warning"))
        await preflight(workbench)
        return await run_matrix(
            cells,
            spec,
            runner=runner,
            store=TrialStore(workbench.paths, spec.name),
            observer=view,
            clock=workbench.backend.clock,
            probes=probes,
        )

    return workbench.backend.clock.run(whole())


def show(
    workbench: Workbench,
    cells: dict[str, Cell],
    tests: tuple[int, ...],
    *,
    json: bool,
) -> None:
    """Print the table of every cell that has run, and write it as Markdown and CSV.

    Args:
        workbench: Whose store holds the cells of earlier runs.
        cells: All of the matrix.
        tests: Those of this run.
        json: Print the result as a line of JSON in place of the table.
    """
    store = TrialStore(workbench.paths, workbench.spec.name)
    measured = [record for record in store.records() if record.kind is TrialKind.MATRIX]
    fragile = workbench.space.fragile
    rows = [row for row in rows_of(cells, measured, fragile) if row.record is not None]
    tests = tuple(sorted({*tests, *measured_tests(rows)}))
    table = matrix_table(rows, tests, spec=workbench.spec)
    mark = f"-{SIMULATED}" if workbench.backend.simulated else ""
    markdown = workbench.paths.root / f"matrix{mark}.md"
    csv = workbench.paths.root / f"matrix{mark}.csv"
    write_atomically(markdown, to_markdown(table) + "\n")
    write_atomically(csv, matrix_csv(rows, tests))
    if json:
        typer.echo(as_json(workbench, rows, files=(markdown, csv)))
    else:
        console = Console(file=sys.stdout, highlight=False)
        console.print(to_rich(table))
        console.print(f"written: {markdown}, {csv}", markup=False, soft_wrap=True)


def as_json(workbench: Workbench, rows: list[MatrixRow], *, files: tuple[Path, ...]) -> str:
    """One JSON object, event "result": the last trial of every cell that has run."""
    cells = [
        {"name": row.name, "title": row.cell.title, "image": row.cell.image,
         "notes": list(row.record.notes), **record_as_json(row.record)}
        for row in rows
        if row.record is not None
    ]  # fmt: skip
    values = {
        "event": "result",
        "study": workbench.spec.name,
        "simulated": workbench.backend.simulated,
        "cells": cells,
        "files": list(map(str, files)),
    }
    return line_of(values)
