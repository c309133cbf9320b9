"""`autotune doctor`: could a study start on this machine?"""

import sys
from collections.abc import Sequence

from rich.console import Console

from autotune.cli.choose import DEFAULT_IMAGE
from autotune.cli.doctor import checks
from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_facts import deployer_of, gather
from autotune.cli.options import (
    DeployerOption,
    EngineOption,
    ImageOption,
    ModelOption,
    StudyArgument,
    load_study,
)
from autotune.clock import MonotonicClock
from autotune.errors import HostError
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec
from autotune.telemetry import machine_sources
from autotune.telemetry.hardware import detect_hardware
from autotune.trial.quiet import look

_TONES = {State.OK: Tone.GOOD, State.WARNING: Tone.STRONG, State.MISSING: Tone.BAD}


def doctor(
    study: StudyArgument = "default",
    model: ModelOption = None,
    engine: EngineOption = None,
    deployer: DeployerOption = None,
    image: ImageOption = None,
) -> int:
    """Check every prerequisite of a study; each line says what follows and what mends it.

    Ends with an error if the study could not start.

    Example: autotune doctor rtx5070
    """
    overrides = {
        "model": model,
        "engine.name": engine,
        "engine.deployer": deployer,
        "engine.image": image,
    }
    hardware = detect_hardware()
    spec = _with_image(load_study(study, overrides), hardware)
    seen = MonotonicClock().run(look(machine_sources()))
    others = seen.get("gpu_other_processes_count")
    facts = gather(spec, hardware, gpu_processes=None if others is None else int(others))
    found = checks(facts, spec)
    console = Console(file=sys.stdout, highlight=False)
    show(console, found)
    missing = [check.name for check in found if check.state is State.MISSING]
    if missing:
        console.print(f"not ready: study {study!r} could not start here ({', '.join(missing)})",
                      markup=False, soft_wrap=True)  # fmt: skip
        return HostError.exit_code
    how = "simulated" if facts.deployer == "simulated" else f"with vLLM by {facts.deployer}"
    console.print(f"ready: study {study!r} can start here, {how}", markup=False, soft_wrap=True)
    return 0


def _with_image(spec: StudySpec, hardware: Hardware) -> StudySpec:
    """The image that a study in containers takes where it names none."""
    if spec.engine.image is not None or deployer_of(spec, hardware) != "docker":
        return spec
    engine = spec.engine.model_copy(update={"image": DEFAULT_IMAGE})
    return spec.model_copy(update={"engine": engine})


def show(console: Console, found: Sequence[Check]) -> None:
    """A line per prerequisite; below, what follows and what mends it, uncut so it can be copied."""
    rows = tuple(
        (Cell.of(c.name), Cell.of(c.state.value, _TONES[c.state]), Cell.of(c.found)) for c in found
    )
    columns = (Column(head="what"), Column(head="state"), Column(head="found", fold=True))
    console.print(to_rich(Table(title="This machine", columns=columns, rows=rows)))
    for check in found:
        if check.state is State.OK:
            continue
        console.print()
        style = "bold red" if check.state is State.MISSING else "bold"
        console.print(f"{check.name}: {check.consequence}", markup=False, soft_wrap=True,
                      style=style)  # fmt: skip
        if check.mend:
            console.print(f"  {check.mend}", markup=False, soft_wrap=True)
    console.print()
