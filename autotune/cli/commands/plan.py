"""`autotune plan`: what a study would do on this machine, before it does anything."""

import sys
from collections.abc import Mapping
from dataclasses import asdict

import typer
from rich.console import Console

from autotune.cli.json_lines import result_line
from autotune.cli.options import (
    DeployerOption,
    EngineOption,
    ImageOption,
    JsonOption,
    ModelOption,
    StudyArgument,
    TrialsOption,
    load_study,
)
from autotune.cli.running import open_study, say
from autotune.cli.warnings import warn
from autotune.cli.wiring import Workbench
from autotune.records import Configuration
from autotune.report.brief import brief_settings
from autotune.report.quantities import DASH, duration_text, gib_text, trials_text
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.report.tables import removed_table
from autotune.seams.engine import LaunchContext, Screening
from autotune.spec.space import Choice, Parameter, space_to_raw

_START_S = (60.0, 300.0)
"""A start of vLLM on one GPU: warm caches and a small model, against the first start of all
(75 s eager, 105 to 140 s with compilation and graphs, 228 to 300 s with FlashInfer's kernels,
measured on a Hopper GPU with vLLM 0.26)."""
_PROBES_S = (60.0, 240.0)
_LESS_AT_FIRST = 0.98
"""A first start with less of the later ones' KV tokens is said."""


def plan(
    study: StudyArgument = "default",
    trials: TrialsOption = None,
    model: ModelOption = None,
    engine: EngineOption = None,
    deployer: DeployerOption = None,
    image: ImageOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Show the engine at hand, the space that remains, predicted memory, expected duration.

    Example: autotune plan rtx5070
    """
    overrides = {
        "budget.trials": trials,
        "model": model,
        "engine.name": engine,
        "engine.deployer": deployer,
        "engine.image": image,
    }
    opened = open_study(load_study(study, overrides))
    if json:
        typer.echo(as_json(opened.workbench))
        return
    console = Console(file=sys.stdout, highlight=False)
    say(console, opened.banner)
    workbench = opened.workbench
    tables = (
        engine_table(workbench),
        space_table(workbench),
        removed_table(workbench.space.removed),
        memory_table(workbench),
    )
    for table in tables:
        if table.rows:
            console.print(to_rich(table))
            console.print()
    warn(console, workbench.space.warnings)
    console.print(expected_duration(workbench.spec.budget.trials), markup=False)


def as_json(workbench: Workbench) -> str:
    """One JSON object: engine, space, what was taken out of it, and predicted memory, raw."""
    context, space = workbench.context, workbench.space
    trials = workbench.spec.budget.trials
    return result_line({
        "study": workbench.spec.name,
        "simulated": workbench.backend.simulated,
        "model": context.model.name,
        "engine": context.capabilities.engine,
        "engine_release": context.capabilities.release,
        "engine_platform": context.capabilities.platform,
        "space": space_to_raw(space.space),
        "removed": [asdict(removal) for removal in space.removed],
        "warnings": [*context.capabilities.warnings, *space.warnings],
        "predicted": [_planned_as_json(planned, workbench) for planned in _planned(workbench)],
        "trials": trials,
        "expected_s": list(_expected_s(trials)),
    })  # fmt: skip


def _planned_as_json(planned: tuple[str, Configuration], workbench: Workbench) -> dict[str, object]:
    name, configuration = planned
    screening = workbench.backend.engine.screen(configuration, workbench.context)
    failure = screening.failure or screening.headroom
    return {
        "name": name,
        "configuration": configuration.values,
        "predicted": dict(screening.predicted),
        "failure": None if failure is None else failure.message,
    }


def engine_table(workbench: Workbench) -> Table:
    """What was found without starting anything."""
    capabilities, hardware = workbench.context.capabilities, workbench.context.hardware
    gpu = hardware.gpu
    backends = capabilities.choices.get("attention_backend", ())
    found = [
        ("engine", f"{capabilities.engine} {capabilities.release}, {capabilities.platform}"),
        ("found by", capabilities.source),
        ("image", capabilities.image_digest or workbench.context.target.image or DASH),
        ("options known", str(len(capabilities.flags))),
        ("attention backends", ", ".join(backends) or DASH),
        ("GPU", "none" if gpu is None else f"{gpu.name}, {gib_text(gpu.memory_bytes)}, "
         f"compute capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]}"),
        ("host memory", gib_text(hardware.host_memory_bytes)),
        ("model", workbench.context.model.name),
    ]  # fmt: skip
    found += [("warning", warning) for warning in capabilities.warnings]
    rows = tuple((Cell.of(what), Cell.of(value)) for what, value in found)
    return Table(
        title="Engine at hand",
        columns=(Column(head="what"), Column(head="found", fold=True)),
        rows=rows,
        simulated=workbench.backend.simulated,
    )


def space_table(workbench: Workbench) -> Table:
    """The space that remains."""
    rows = tuple(
        (Cell.of(p.name), Cell.of(_values(p)), Cell.of(_when(p)))
        for p in workbench.space.space.parameters
    )
    return Table(
        title="Search space that remains",
        columns=(
            Column(head="parameter"),
            Column(head="values", fold=True),
            Column(head="only when", fold=True),
        ),
        rows=rows,
    )


def memory_table(workbench: Workbench) -> Table:
    """Predicted memory of the baseline and of each seed."""
    rows = []
    for name, configuration in _planned(workbench):
        screening = workbench.backend.engine.screen(configuration, workbench.context)
        fits = _fits(screening, workbench.context)
        settings = brief_settings(configuration)
        rows.append((Cell.of(name), *_prediction(screening), fits, Cell.of(settings)))
    return Table(
        title="Predicted memory",
        columns=(
            Column(head="configuration"),
            Column(head="GPU", align="right"),
            Column(head="KV tokens", align="right"),
            Column(head="host", align="right"),
            Column(head="fits", fold=True, least=12),
            Column(head="settings", fold=True, least=14),
        ),
        rows=tuple(rows),
        notes=_how_predicted(workbench.backend.simulated),
    )


def _planned(workbench: Workbench) -> list[tuple[str, Configuration]]:
    """The baseline and the seeds by name, as far as this engine has their settings."""
    spec, context = workbench.spec, workbench.context
    asked = [("baseline", spec.baseline), *((f"seed {i}", s) for i, s in enumerate(spec.seeds, 1))]
    return [
        (name, workbench.backend.engine.settle(
            Configuration.of(values), context.capabilities, context.hardware
        ).configuration)
        for name, values in asked
    ]  # fmt: skip


def _how_predicted(simulated: bool) -> tuple[str, ...]:
    """Why a trial's own figures will differ, and when they no longer do."""
    before = (
        "Predicted before any trial, by the engine's sources and what was read from starts on "
        "other cards; what the first trials read back corrects it."
    )
    own = (
        "A simulated card has constants of its own, CUDA graphs and the peak of a step among "
        "them, as a card has that nobody has measured: its first trial differs from this."
    )
    return (before, own) if simulated else (before,)


def _prediction(screening: Screening) -> tuple[Cell, ...]:
    predicted = screening.predicted
    return (
        Cell.of(gib_text(predicted.get("gpu_memory_bytes"))),
        Cell.of(_tokens_text(predicted)),
        Cell.of(gib_text(predicted.get("host_memory_bytes"))),
    )


def _tokens_text(predicted: Mapping[str, float]) -> str:
    """KV tokens; where a first start, which compiles, has less, its own and those after it."""
    first = predicted.get("kv_cache_tokens_first_start")
    later = predicted.get("kv_cache_tokens_later_start")
    tokens = predicted.get("kv_cache_tokens")
    if first is not None and later is not None and first < _LESS_AT_FIRST * later:
        return f"{later:,.0f} (first start {first:,.0f})"
    return DASH if tokens is None else f"{tokens:,.0f}"


def _fits(screening: Screening, context: LaunchContext) -> Cell:
    """Whether it starts, and whether it keeps the headroom: certain, or by the prediction."""
    failure = screening.failure or screening.headroom
    if failure is not None:
        return Cell.of(failure.message, Tone.BAD)
    gpu, used = context.hardware.gpu, screening.predicted.get("gpu_memory_bytes")
    if gpu is not None and used is not None:
        most = gpu.memory_bytes - context.gpu_headroom_bytes
        if used > most:
            return Cell.of(f"over the headroom's {gib_text(most)}", Tone.BAD)
    return Cell.of("yes", Tone.GOOD)


def expected_duration(trials: int) -> str:
    """Expected time of a study as a range; what is not known before the first trial is a range."""
    low, high = _expected_s(trials)
    return (
        f"{trials_text(trials)}: {duration_text(low)} to {duration_text(high)} on a real GPU; "
        "the live view keeps this current from the first trial on."
    )


def _expected_s(trials: int) -> tuple[float, float]:
    low, high = (trials * (start + probes)
                 for start, probes in zip(_START_S, _PROBES_S, strict=True))  # fmt: skip
    return low, high


def _values(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return ", ".join(str(choice) for choice in parameter.choices)
    grid = parameter.grid()
    scale = ", logarithmic" if parameter.log else ""
    return f"{parameter.low:g} to {parameter.high:g}, {len(grid)} values{scale}"


def _when(parameter: Parameter) -> str:
    return " and ".join(f"{c.parameter} in {', '.join(map(str, c.values))}"
                        for c in parameter.when)  # fmt: skip
