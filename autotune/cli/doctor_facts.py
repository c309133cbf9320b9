"""What the machine at hand is like, as far as a study asks for it; nothing is started."""

import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from autotune.cli.choose import choose
from autotune.cli.wiring import read_model_facts
from autotune.deployers.docker_facts import DockerFacts, docker_facts
from autotune.deployers.ports import ensure_free
from autotune.errors import AutotuneError, HostError, ModelError
from autotune.load.priority import realtime
from autotune.paths import results_root
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the machine is like.

    Attributes:
        deployer: What the study would start servers with here: "docker", "process", "simulated".
        docker: None where no Docker engine can be used; then `docker_error` says why.
        program: Where the serve command was found; None if it was not.
        model_error: Why the model cannot be read; None if it can.
        model_source: Where it was read.
        memlock_bytes: Limit of locked memory; -1 for none.
        gpu_processes: Other processes on the GPU; None where that cannot be read.
        ram_free_bytes: Memory that could be had now; None where that is not known.
        free_bytes: Free space by what it is for: "images", "weights", "results".
        port_error: Why the study's port cannot be used, or empty.
        results_error: Why results cannot be written, or empty.
        client_is_realtime: Whether the load generator may have real-time priority.
    """

    hardware: Hardware
    deployer: str = "docker"
    docker: DockerFacts | None = None
    docker_error: AutotuneError | None = None
    program: str | None = None
    model_error: AutotuneError | None = None
    model_source: str = ""
    memlock_bytes: int = -1
    gpu_processes: int | None = None
    ram_free_bytes: int | None = None
    free_bytes: tuple[tuple[str, int], ...] = ()
    has_token: bool = False
    port_error: str = ""
    results_error: str = ""
    client_is_realtime: bool = True


def gather(
    spec: StudySpec,
    hardware: Hardware,
    *,
    gpu_processes: int | None = None,
) -> Facts:
    """Look at this machine; starts nothing and changes nothing.

    Raises:
        UsageError: If the study's engine and deployer do not go together.
    """
    found: DockerFacts | None = None
    refused: AutotuneError | None = None
    try:
        found = docker_facts(spec.engine.image)
    except AutotuneError as error:
        refused = error
    home = Path(os.environ.get("HF_HOME") or Path.home())
    places = {"weights": home, "results": Path.cwd()}
    if found is not None:
        places["images"] = Path(found.data_root)
    model_error, source = _model(spec)
    return Facts(
        hardware=hardware,
        deployer=deployer_of(spec, hardware),
        docker=found,
        docker_error=refused,
        program=shutil.which(Path(spec.engine.command[0]).expanduser()),
        model_error=model_error,
        model_source=source,
        memlock_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        gpu_processes=gpu_processes,
        ram_free_bytes=int(psutil.virtual_memory().available),
        free_bytes=tuple((what, size) for what, path in places.items()
                         if (size := _free(path)) is not None),
        has_token=bool(os.environ.get("HF_TOKEN")),
        port_error=_port_error(spec),
        results_error=_results_error(spec),
        client_is_realtime=_client_is_realtime(),
    )  # fmt: skip


def deployer_of(spec: StudySpec, hardware: Hardware) -> str:
    """What `autotune study` would start servers with here, whether or not it could.

    Raises:
        UsageError: If the study's engine and deployer do not go together.
    """
    try:
        chosen = choose(spec, hardware, require_docker=lambda: None)
    except HostError:  # a container that wants a GPU, where there is none
        return "docker"
    return chosen.spec.engine.deployer or "docker"


def _client_is_realtime() -> bool:
    with realtime() as is_allowed:
        return is_allowed


def _model(spec: StudySpec) -> tuple[ModelError | None, str]:
    """Why the model's own files cannot be read, or where they were read."""
    try:
        return None, read_model_facts(spec).source
    except ModelError as error:
        return error, ""


def _free(path: Path) -> int | None:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _port_error(spec: StudySpec) -> str:
    try:
        ensure_free(spec.bind_host, spec.port or 8000)
    except AutotuneError as error:
        return error.message
    return ""


def _results_error(spec: StudySpec) -> str:
    """Why the study's folder cannot be written, or empty."""
    place = results_root() / spec.name
    while not place.exists():
        place = place.parent
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written"
