"""`autotune doctor`: is this machine ready?"""

from rich.console import Console

from autotune.cli.choose import DEFAULT_IMAGE
from autotune.cli.doctor import State, checks, gather
from autotune.cli.options import StudyArgument, load_study
from autotune.clock import MonotonicClock
from autotune.errors import HostError
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.telemetry import machine_sources
from autotune.telemetry.hardware import detect_hardware
from autotune.trial.quiet import look

_TONES = {State.OK: Tone.GOOD, State.WARNING: Tone.STRONG, State.MISSING: Tone.BAD}


def doctor(study: StudyArgument = "default") -> int:
    """Check every prerequisite; each line says what follows from it and what mends it.

    Example: autotune doctor rtx5070
    """
    spec = load_study(study, {})
    hardware = detect_hardware()
    if hardware.gpus and spec.engine.image is None:
        engine = spec.engine.model_copy(update={"image": DEFAULT_IMAGE})
        spec = spec.model_copy(update={"engine": engine})
    seen = MonotonicClock().run(look(machine_sources()))
    others = seen.get("gpu_other_processes_count")
    facts = gather(spec, hardware, gpu_processes=None if others is None else int(others))
    found = checks(facts, spec)
    rows = tuple(
        (
            Cell.of(check.name),
            Cell.of(check.state.value, _TONES[check.state]),
            Cell.of(check.found),
            Cell.of(check.consequence),
            Cell.of(check.mend),
        )
        for check in found
    )
    columns = (
        Column(head="what"),
        Column(head="state"),
        Column(head="found", fold=True),
        Column(head="what follows", fold=True),
        Column(head="what mends it", fold=True),
    )
    console = Console(highlight=False)
    console.print(to_rich(Table(title="This machine", columns=columns, rows=rows)))
    is_ready = all(check.state is not State.MISSING for check in found)
    console.print("ready" if is_ready else "not ready: mend what is missing")
    return 0 if is_ready else HostError.exit_code
