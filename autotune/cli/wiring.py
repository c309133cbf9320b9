"""The one module that knows every room: puts together what a study works with."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autotune import __version__
from autotune.cli.safety import authorization, exposure, key_variable, require_room
from autotune.clock import Clock, MonotonicClock, VirtualClock
from autotune.deployers import DEPLOYERS
from autotune.deployers.marks import errand, labels
from autotune.deployers.ports import free_port
from autotune.engines import ENGINES, vocabulary
from autotune.engines.models import read_model
from autotune.engines.simulated.backend import simulated_backend
from autotune.load.connect import http_connector
from autotune.load.runner import InProcessLoad
from autotune.paths import StudyPaths, declared_file, results_root
from autotune.probes import PROBES
from autotune.seams.deployment import Deployer, Deployment, Mount
from autotune.seams.engine import (
    Capabilities,
    Engine,
    EngineTarget,
    LaunchContext,
    ModelFacts,
    ResolvedSpace,
)
from autotune.seams.events import Event, Observer
from autotune.seams.requests import Client, Connector
from autotune.seams.telemetry import Hardware, Source
from autotune.spec.files import read_yaml
from autotune.spec.space import SearchSpace, space_from, space_to_raw
from autotune.spec.study import StudySpec
from autotune.telemetry import deployment_sources, machine_sources
from autotune.trial.tools import TrialTools
from autotune.units import bytes_from_gib

SIMULATED_PORT: Final = 8000


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The rooms of layer 2 that fit together for one study."""

    clock: Clock
    engine: Engine
    deployer: Deployer
    connect: Connector
    sources: Callable[[Deployment, Client], tuple[Source, ...]]
    machine_sources: tuple[Source, ...]
    hardware: Hardware
    free_port: Callable[[str], int]
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """A study that is ready to run.

    Attributes:
        context: Everything about a start that is not the configuration.
        space: What remains of the declared space, and what was taken out.
    """

    spec: StudySpec
    paths: StudyPaths
    backend: Backend
    context: LaunchContext
    space: ResolvedSpace

    @property
    def resolved(self) -> StudySpec:
        """The study with the space that is left of it, as `study.yaml` holds it."""
        return self.spec.model_copy(update={"space": space_to_raw(self.space.space)})

    def tools(self, observer: Observer) -> TrialTools:
        """What a trial of this study works with."""
        backend = self.backend
        return TrialTools(
            clock=backend.clock,
            engine=backend.engine,
            deployer=backend.deployer,
            connect=backend.connect,
            sources=backend.sources,
            machine_sources=backend.machine_sources,
            context=self.context,
            free_port=backend.free_port,
            probes={name: make() for name, make in PROBES.items()},
            environment=environment_of(self.context),
            simulated=backend.simulated,
            observer=_unbreakable(observer),
        )


def make_backend(spec: StudySpec, hardware: Hardware, model: ModelFacts) -> Backend:
    """Put the rooms together.

    Args:
        spec: With engine and deployer named (`autotune.cli.choose`).
        hardware: As found on this machine.
        model: As its files describe it.
    """
    if spec.engine.name == "simulated":
        virtual = VirtualClock()
        simulated = simulated_backend(spec, virtual, model, InProcessLoad)
        return Backend(
            clock=virtual,
            engine=simulated.engine,
            deployer=simulated.deployer,
            connect=simulated.connect,
            sources=simulated.sources,
            machine_sources=(),
            hardware=simulated.hardware,
            free_port=lambda _host: SIMULATED_PORT,
            simulated=True,
        )
    if spec.engine.name is None or spec.engine.deployer is None:
        raise AssertionError(spec.engine)  # `choose` names them
    clock = MonotonicClock()
    return Backend(
        clock=clock,
        engine=ENGINES[spec.engine.name](),
        deployer=DEPLOYERS[spec.engine.deployer](clock),
        connect=http_connector(clock, headers=authorization(spec, os.environ)),
        sources=deployment_sources,
        machine_sources=machine_sources(),
        hardware=hardware,
        free_port=free_port,
        simulated=False,
    )


def read_model_facts(spec: StudySpec) -> ModelFacts:
    """Read the model's own files.

    Raises:
        ModelError: If it is missing, gated or not readable.
    """
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return MonotonicClock().run(read_model(spec.model, revision=spec.revision, online=not offline))


def read_space(spec: StudySpec) -> SearchSpace:
    """The study's space: a declared one by name or path, or written in the study itself.

    Raises:
        SpecError: Naming the field.
        UsageError: If there is no such file.
    """
    if isinstance(spec.space, dict):
        where = f"study {spec.name}: space"
        return space_from(spec.space, where=where, vocabulary=vocabulary())
    path = declared_file("search_spaces", spec.space)
    raw = read_yaml(path)
    if isinstance(raw, dict):
        raw.setdefault("name", path.stem)
    return space_from(raw, where=str(path), vocabulary=vocabulary())


async def make_workbench(
    spec: StudySpec, backend: Backend, model: ModelFacts, space: SearchSpace
) -> Workbench:
    """Look at the engine and hold the space against it.

    Raises:
        EngineError: If the engine is not there or not understood.
        SpecError: If the headroom is all that the machine has.
    """
    require_room(spec, backend.hardware)
    target = target_of(spec, backend.hardware)
    found = await backend.engine.detect(target)
    capabilities = replace(found, warnings=(*found.warnings, *exposure(spec)))
    context = LaunchContext(
        target=target,
        capabilities=capabilities,
        hardware=backend.hardware,
        model=model,
        port=spec.port or 0,
        bind_host=spec.bind_host,
        fixed_arguments=fixed_arguments(spec),
        cache_dir=None if backend.simulated else engine_cache(capabilities),
        memory_limit_bytes=memory_limit(spec, backend.hardware),
        gpu_headroom_bytes=bytes_from_gib(spec.headroom.gpu_gib),
        startup_timeout_s=spec.budget.startup_timeout_s,
        seed=spec.seed,
    )
    resolved = backend.engine.resolve_space(space, capabilities, backend.hardware, model)
    return Workbench(
        spec=spec,
        paths=StudyPaths(results_root() / spec.name),
        backend=backend,
        context=context,
        space=resolved,
    )


def target_of(spec: StudySpec, hardware: Hardware) -> EngineTarget:
    """Which engine the study means."""
    engine = spec.engine
    return EngineTarget(
        deployer=engine.deployer or "process",
        command=tuple(engine.command),
        image=engine.image,
        env=engine.env,
        mounts=tuple(
            Mount(
                source=Path(m.source).expanduser().absolute(),
                target=m.target,
                read_only=m.read_only,
            )
            for m in engine.mounts
        ),
        gpus=engine.gpus and bool(hardware.gpus),
        labels=labels(errand(), "scan"),
        api_key_env=key_variable(spec),
    )


def fixed_arguments(spec: StudySpec) -> tuple[str, ...]:
    """Arguments that every start gets; code of the model's own only where it was asked for."""
    trust = ("--trust-remote-code",) if spec.engine.trust_remote_code else ()
    return (*spec.engine.arguments, *trust)


def engine_cache(capabilities: Capabilities) -> Path:
    """Folder for compiled kernels and graphs, one per image or release, shared by all studies."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = (capabilities.image_digest or capabilities.release).replace(":", "-").replace("/", "-")
    folder = root / "autotune" / "engines" / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def memory_limit(spec: StudySpec, hardware: Hardware) -> int | None:
    """Most host memory that the engine may take: what the machine has, less the headroom."""
    limit = hardware.host_memory_bytes - bytes_from_gib(spec.headroom.host_gib)
    return limit if limit > 0 else None


def environment_of(context: LaunchContext) -> dict[str, str]:
    """What every record says of where it was measured."""
    gpu, capabilities = context.hardware.gpu, context.capabilities
    found = {
        "autotune": __version__,
        "engine": capabilities.engine,
        "engine_release": capabilities.release,
        "engine_platform": capabilities.platform,
        "image": context.target.image,
        "image_digest": capabilities.image_digest,
        "model": context.model.name,
        "model_revision": context.model.revision,
        "gpu": None if gpu is None else gpu.name,
        "gpu_uuid": None if gpu is None else gpu.uuid,
        "gpu_driver": None if gpu is None else gpu.driver,
        "gpu_memory_bytes": None if gpu is None else str(gpu.memory_bytes),
        "host": context.hardware.host,
        "host_memory_bytes": str(context.hardware.host_memory_bytes),
        "host_cpu_count": str(context.hardware.cpu_count),
        "host_platform": context.hardware.platform or platform.platform(),
        "python": platform.python_version(),
    }
    return {key: value for key, value in found.items() if value}


def _unbreakable(observer: Observer) -> Observer:
    """A view whose terminal or pipe has gone must end neither the watching nor the stopping."""

    def told(event: Event) -> None:
        with suppress(OSError):
            observer(event)

    return told
