"""Engine to deployer: what to run, and what became of it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
"""Where only this machine reaches what listens."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host folder, seen at a path inside a container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """What an engine writes and a deployer runs.

    Attributes:
        argv: The whole command, program first. Never a shell.
        env: Variables to set; no secrets, for the plan is recorded.
        env_passthrough: Names copied from the controller's environment if set there (HF_TOKEN).
        image: Container image; None for the process deployer.
        bind_host: Address on the host where the server shall be reached.
        port: Port on the host (and, for a process, the server's own).
        container_port: Port inside a container.
        mounts: Folders for a container.
        shm_bytes: Size of a private /dev/shm; None leaves the engine's default.
        memory_limit_bytes: Hard limit of host memory for a container; None for no limit.
        gpus: Whether the GPUs are handed to a container.
        health_path: Answers 200 once the server is ready.
        startup_timeout_s: How long that may take.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    env_passthrough: tuple[str, ...] = ()
    image: str | None = None
    bind_host: str = "127.0.0.1"
    port: int
    container_port: int = 8000
    mounts: tuple[Mount, ...] = ()
    shm_bytes: int | None = None
    memory_limit_bytes: int | None = None
    gpus: bool = False
    health_path: str = "/health"
    startup_timeout_s: float = 900.0

    @property
    def base_url(self) -> str:
        """Where the server answers, without a trailing slash."""
        return f"http://{self.bind_host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who started a deployment; becomes container labels and environment marks.

    A later run of autotune finds leftovers of a dead one by these and ends nothing else.
    """

    study: str
    trial: int
    owner_pid: int
    owner_start: str


@dataclass(frozen=True, kw_only=True)
class ExitEvidence:
    """How the server process or container ended.

    Attributes:
        exit_code: As the system reports it; None if it is unknown.
        signal: Number of the signal that killed it.
        oom_killed: Whether the container's memory limit did it; None where nobody can tell.
        stopped_by_us: Whether autotune had asked it to end: then the code means nothing.
        deployer_fault: Whether what runs the server broke (Docker's engine went away, somebody
            removed the container), so that its end says nothing of the configuration.
        detail: What else the deployer knows, one line.
    """

    exit_code: int | None = None
    signal: int | None = None
    oom_killed: bool | None = None
    stopped_by_us: bool = False
    deployer_fault: bool = False
    detail: str = ""


class Deployment(Protocol):
    """A running server."""

    @property
    def base_url(self) -> str:
        """Where it answers."""
        ...

    @property
    def log_path(self) -> Path:
        """Its stdout and stderr, being written."""
        ...

    @property
    def started_ns(self) -> int:
        """When the process or container was started, on the deployer's clock."""
        ...

    def pids(self) -> tuple[int, ...]:
        """Process ids on the host, the server's own first; empty once it is gone."""
        ...

    def cgroup(self) -> Path | None:
        """Folder of its memory cgroup on this host, where it has one of its own."""
        ...

    def exit_evidence(self) -> ExitEvidence | None:
        """How it ended; None while it runs."""
        ...

    @property
    def is_out_of_sight(self) -> bool:
        """Whether nobody can tell at the moment if it still runs: whoever started it is away."""
        ...

    async def wait_exit(self) -> ExitEvidence:
        """Return within a second of the server's end."""
        ...

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """End it and everything it started; ask first, then insist after `grace_s`."""
        ...


class Deployer(Protocol):
    """Starts servers and ends them.

    `deploy` is used as `async with deployer.deploy(...) as deployment:`; on the way out nothing
    of the deployment is left, whatever happened inside, a failure of entering included.
    """

    @property
    def name(self) -> str:
        """Its name in a study file."""
        ...

    async def preflight(self, plan: LaunchPlan) -> None:
        """Find out what would stop every trial: no Docker, no image, no program, a busy port.

        Raises:
            DeployerError: With the next step as its hint.
        """
        ...

    def deploy(
        self, plan: LaunchPlan, *, identity: Identity, log_path: Path
    ) -> AbstractAsyncContextManager[Deployment]:
        """Start a server; entering returns as soon as it has been started, not when healthy.

        Raises:
            DeployerError: If it could not be started for a reason that is not the engine's.
        """
        ...

    async def sweep(self, study: str) -> tuple[str, ...]:
        """End what dead runs of this study left, found by label; say what was ended."""
        ...
