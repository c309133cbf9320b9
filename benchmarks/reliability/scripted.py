"""A study whose engine is the scripted server: the real trial, deployers, records and ledger."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import docker

from autotune.clock import Clock, MonotonicClock
from autotune.deployers import DEPLOYERS
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.engines.vllm.engine import VllmEngine
from autotune.load.connect import http_connector
from autotune.paths import StudyPaths
from autotune.probes import PROBES
from autotune.records import Applied, Configuration, TrialRecord
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.seams.engine import (
    Capabilities,
    EngineTarget,
    LaunchContext,
    ModelFacts,
    Screening,
    Settled,
)
from autotune.seams.events import Observer, ignore
from autotune.seams.requests import Client
from autotune.seams.telemetry import Hardware, Source
from autotune.spec.study import StudySpec, study_from
from autotune.telemetry import deployment_sources, machine_sources
from autotune.telemetry.hardware import detect_hardware
from autotune.trial.lifecycle import Trials
from autotune.trial.tools import TrialTools
from autotune.units import BYTES_PER_MIB
from tests.support.busybox import make_image

SERVER: Final = Path(__file__).with_name("scripted_server.py").resolve()
DOES: Final = "does"
"""The parameter that says what a trial's server does."""

PROCESS_ENV: Final = {"LD_PRELOAD": ""}
"""A clock that is made to jump is the controller's: libfaketime 0.9.10 fails absolute waits on the
monotonic clock (clock_nanosleep(2)), on which Python sleeps, and the server does."""

MEMORY_LIMIT_BYTES: Final = 512 * BYTES_PER_MIB
SHM_BYTES: Final = 64 * BYTES_PER_MIB


class ScriptedEngine(VllmEngine):
    """vLLM's texts and classification over a server that follows a script."""

    def launch_plan(self, configuration: Configuration, context: LaunchContext) -> LaunchPlan:
        """The scripted server, with this machine's Python where it runs in a container."""
        image = context.target.image
        port = context.port if image is None else 8000
        does = str(configuration.get(DOES) or "serves")
        python = str(Path(sys.executable).resolve())
        return LaunchPlan(
            argv=(python, str(SERVER), str(port), does),
            env=PROCESS_ENV if image is None else {"LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"},
            image=image,
            bind_host=context.bind_host,
            port=context.port,
            mounts=() if image is None else mounts(),
            shm_bytes=None if image is None else SHM_BYTES,
            memory_limit_bytes=context.memory_limit_bytes,
            startup_timeout_s=context.startup_timeout_s,
        )

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Everything may be tried."""
        del configuration, context
        return Screening()

    def settle(
        self, configuration: Configuration, capabilities: Capabilities, hardware: Hardware
    ) -> Settled:
        """Everything can be set."""
        del capabilities, hardware
        return Settled(configuration=configuration)

    async def read_back(
        self, configuration: Configuration, capabilities: Capabilities, client: Client, log: str
    ) -> Applied:
        """It says nothing of itself."""
        del configuration, capabilities, client, log
        return Applied()


def mounts() -> tuple[Mount, ...]:
    """This machine's Python and the libraries that it needs, for an image that has none."""
    folders: Mapping[str, str] = {
        "/usr/lib": "/lib",
        "/usr/lib64": "/lib64",
        sys.base_prefix: sys.base_prefix,
        str(SERVER.parent): str(SERVER.parent),
    }
    return tuple(
        Mount(source=Path(source).resolve(), target=target, read_only=True)
        for source, target in folders.items()
        if Path(source).is_dir()
    )


def image() -> str:
    """The image that containers are made of."""
    client = docker.from_env()
    try:
        return make_image(client)
    finally:
        client.close()


def spec_of(name: str, changes: Mapping[str, Any] | None = None) -> StudySpec:
    """A study of short trials that leaves most of this machine alone."""
    raw: dict[str, Any] = {
        "name": name,
        "probes": ["ttft"],
        "objectives": ["ttft_short_ns", "itl_single_ns"],
        "limits": [],
        "headroom": {"host_gib": 1.0, "gpu_gib": 0.0},
        "workload": {"ttft_repeats": 3, "ttft_max_tokens": 16, "request_timeout_s": 5},
        "budget": {"trials": 10, "startup_timeout_s": 20, "trial_timeout_s": 60},
    }
    return study_from({**raw, **(changes or {})}, where="scripted")


def tools_of(
    spec: StudySpec,
    deployer: str,
    *,
    clock: Clock | None = None,
    observer: Observer = ignore,
    extra_sources: Sequence[Source] = (),
    memory_limit_bytes: int | None = MEMORY_LIMIT_BYTES,
) -> TrialTools:
    """What a trial of the scripted server works with."""
    clock = clock or MonotonicClock()
    context = LaunchContext(
        target=EngineTarget(
            deployer=deployer,
            command=("scripted",),
            image=image() if deployer == "docker" else None,
        ),
        capabilities=Capabilities(engine="vllm", release="0.33.0", platform="cuda"),
        hardware=replace(detect_hardware(), gpus=()),
        model=ModelFacts(name="scripted"),
        port=0,
        startup_timeout_s=spec.budget.startup_timeout_s,
        memory_limit_bytes=memory_limit_bytes,
    )
    return TrialTools(
        clock=clock,
        engine=ScriptedEngine(),
        deployer=DEPLOYERS[deployer](clock),
        connect=http_connector(clock),
        sources=lambda deployment, client: (
            *deployment_sources(deployment, client),
            *extra_sources,
        ),
        machine_sources=(*machine_sources(), *extra_sources),
        context=context,
        free_port=free_port,
        probes={name: make() for name, make in PROBES.items()},
        environment={"python": sys.version.split()[0], "pid": str(os.getpid())},
        observer=observer,
    )


def runner_of(spec: StudySpec, folder: Path, tools: TrialTools) -> Trials:
    """Runs trials; results lie in the folder."""
    return Trials(spec, StudyPaths(folder / spec.name), tools, owner=owner())


def failure_kind(record: TrialRecord) -> str:
    """The name of a trial's failure, or its status where nothing failed."""
    failure = record.outcome.failure
    return record.outcome.status.value if failure is None else failure.kind.value
