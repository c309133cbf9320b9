"""From a study file to a running study: what `study`, `matrix` and `plan` have in common."""

from dataclasses import dataclass
from typing import Final

from rich.console import Console

from autotune.cli.choose import choose
from autotune.cli.wiring import (
    Workbench,
    environment_of,
    make_backend,
    make_workbench,
    read_model_facts,
    read_space,
)
from autotune.deployers.docker_facts import require_docker
from autotune.deployers.gpu_lock import GpuLocks
from autotune.errors import SpecError
from autotune.records import TrialRecord
from autotune.seams.events import Notice, Observer
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec
from autotune.telemetry.hardware import detect_hardware

MEASURED_WITH: Final = ("engine_release", "image_digest", "gpu", "gpu_driver")
"""Of a record's environment, what makes other figures of the same configuration."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A study whose engine has been looked at.

    Attributes:
        banner: What must be said before anything else, or empty.
    """

    workbench: Workbench
    banner: str


def open_study(spec: StudySpec, *, hardware: Hardware | None = None) -> Opened:
    """Choose engine and deployer, read the model, look at the engine, resolve the space.

    Raises:
        AutotuneError: Whatever is missing, with the next step.
    """
    space = read_space(spec)
    found = detect_hardware() if hardware is None else hardware
    choice = choose(spec, found, require_docker=require_docker)
    model = read_model_facts(choice.spec)
    backend = make_backend(choice.spec, found, model)
    workbench = backend.clock.run(make_workbench(choice.spec, backend, model, space))
    return Opened(workbench=workbench, banner=choice.banner)


def require_space(workbench: Workbench) -> None:
    """Refuse a search of which nothing is left.

    Raises:
        SpecError: With the reasons.
    """
    if workbench.space.space.parameters:
        return
    why = "; ".join(dict.fromkeys(f"{r.parameter}: {r.reason}" for r in workbench.space.removed))
    what = f"{workbench.spec.name}: space"
    message = f"{what}: this engine on this machine leaves nothing of it ({why})"
    raise SpecError(message, hint="Add parameters or values that it has.")


def gpu_locks(workbench: Workbench) -> GpuLocks:
    """Locks of the cards that the study's servers may use; a simulated one uses none."""
    uses = workbench.context.target.gpus and not workbench.backend.simulated
    return GpuLocks(workbench.context.hardware.gpus if uses else ())


def changes(workbench: Workbench, earlier: TrialRecord) -> tuple[str, ...]:
    """What is not as it was when a trial of the study was measured, a line each."""
    before, now = earlier.environment, environment_of(workbench.context)
    return tuple(
        f"{what.replace('_', ' ')} is {now[what]}; the study was measured with {before[what]}"
        for what in MEASURED_WITH
        if what in before and what in now and before[what] != now[what]
    )


def announce(workbench: Workbench, observer: Observer) -> None:
    """Tell what was found and what was taken out of the space, each with its reason."""
    capabilities = workbench.context.capabilities
    for warning in capabilities.warnings:
        observer(Notice(text=warning, level="warning"))
    for warning in workbench.space.warnings:
        observer(Notice(text=warning, level="warning"))
    observer(
        Notice(
            text=f"engine: {capabilities.engine} {capabilities.release} "
            f"({capabilities.platform}; {capabilities.source})"
        )
    )
    for removal in workbench.space.removed:
        what = (
            removal.parameter if removal.value is None else (f"{removal.parameter}={removal.value}")
        )
        observer(Notice(text=f"taken out of the space: {what}: {removal.reason}"))


def say(console: Console, banner: str) -> None:
    """Print a banner that nobody can overlook."""
    if banner:
        console.print(banner, style="bold yellow", markup=False)
