"""Study to engine: what it can do, how it is started, what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    MemoryLedger,
    Scalar,
    TrialRecord,
)
from autotune.seams.deployment import ExitEvidence, LaunchPlan, Mount
from autotune.seams.requests import Client
from autotune.seams.telemetry import Hardware
from autotune.spec.space import DEFAULT, Condition, SearchSpace


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model as its own files describe it.

    Attributes:
        name: What the user wrote: a hub id or a folder.
        config: Its config.json.
        weights_bytes: Size of its weights; None where unknown before it is loaded.
        source: Where this was read: a folder, the hub's cache, the list of known models.
    """

    name: str
    revision: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    weights_bytes: int | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineTarget:
    """Which engine is meant.

    Attributes:
        deployer: "process", "docker" or "simulated".
        command: The serve command's program, e.g. ("vllm", "serve"), found on PATH or absolute;
            inside the image for a container.
        image: For Docker.
        env: Variables that every start gets.
        mounts: Folders that every container gets.
        gpus: Whether containers get the GPUs.
        api_key_env: Variable of the controller's environment that holds the server's API key; its
            value is in no record. None: the server asks for none.
        labels: For containers that are started only to look into the image, so that a later run
            finds what a killed one left.
    """

    deployer: str
    command: tuple[str, ...]
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    gpus: bool = True
    api_key_env: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the engine at hand can do, found without starting it.

    Attributes:
        release: Its version, e.g. "0.32.0".
        platform: "cuda", "cpu", "rocm" or "unknown".
        flags: Every option of its serve command, without leading dashes.
        choices: Parameter to the values that this release's own files list.
        source: How this was found.
        image_digest: Of the container image.
        warnings: What the user should know (a release newer than the table).
        environment: Variables that it reads; empty if that is not known.
    """

    engine: str
    release: str
    platform: str
    flags: frozenset[str] = frozenset()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    image_digest: str | None = None
    warnings: tuple[str, ...] = ()
    environment: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A parameter (value None) or one of its values that the engine at hand lacks."""

    parameter: str
    value: Scalar | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Fragile:
    """Settings that are kept although they have been seen to go wrong together.

    Attributes:
        name: Of the rule that says so.
        settings: Each with the values that are meant; `default` stands for one that is not set.
            Empty: whatever is set.
        reason: What was seen, and what is safe.
    """

    name: str
    settings: tuple[Condition, ...]
    reason: str

    def __str__(self) -> str:
        named = " with ".join(f"{c.parameter}={'|'.join(map(str, c.values))}"
                              for c in self.settings)  # fmt: skip
        return f"{named or self.name}: {self.reason}"

    def concerns(self, configuration: Configuration) -> bool:
        """Whether a configuration has all of these settings."""
        values = configuration.values
        return all(values.get(c.parameter, DEFAULT) in c.values for c in self.settings)


@dataclass(frozen=True, kw_only=True)
class ResolvedSpace:
    """The space that remains, what was taken out, and what is kept although it is fragile."""

    space: SearchSpace
    removed: tuple[Removal, ...] = ()
    fragile: tuple[Fragile, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, a line each."""
        return tuple(map(str, self.fragile))


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A fixed configuration held against the engine at hand.

    Attributes:
        configuration: What can be set.
        left_out: Settings this engine lacks.
        redundant: Settings that are this engine's default anyway: parameter to reason.
    """

    configuration: Configuration
    left_out: tuple[Removal, ...] = ()
    redundant: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LaunchContext:
    """Everything about a start that is not the configuration.

    Attributes:
        memory_limit_bytes: Most host memory that the engine may take; None for no limit.
        gpu_headroom_bytes: GPU memory that shall stay free while it runs.
    """

    target: EngineTarget
    capabilities: Capabilities
    hardware: Hardware
    model: ModelFacts
    port: int
    bind_host: str = "127.0.0.1"
    served_name: str = ""
    fixed_arguments: tuple[str, ...] = ()
    cache_dir: Path | None = None
    memory_limit_bytes: int | None = None
    gpu_headroom_bytes: int = 0
    startup_timeout_s: float = 900.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Screening:
    """The verdict before a start.

    Attributes:
        failure: Why it must not be started; None if it may.
        headroom: Why it would run and break the GPU's headroom; None if it may keep it. Trials
            that others are compared with are started all the same.
        predicted: What the memory model expects: kv_cache_tokens, gpu_memory_bytes, ...
        gpu_margin_gib: GiB left on the GPU by the prediction (negative: short); None if unknown.
        host_margin_gib: The same for host memory.
    """

    failure: Failure | None = None
    headroom: Failure | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)
    gpu_margin_gib: float | None = None
    host_margin_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All there is to name a failure by; kept with the trial, so it can be named again.

    Attributes:
        phase: Where in the trial it happened.
        healthy_once: Whether the server had answered 200.
        exit: How the server ended; None if it still ran.
        log: Its output: the first 256 KiB and the last 768 KiB.
        detail: What the trial saw (time-out, refused request), one line.
        predicted: What screening expected of the start (`Screening.predicted`).
    """

    phase: str
    healthy_once: bool = False
    exit: ExitEvidence | None = None
    log: str = ""
    detail: str = ""
    predicted: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """One kind of inference server."""

    @property
    def name(self) -> str:
        """Its name in a study file."""
        ...

    async def detect(self, target: EngineTarget) -> Capabilities:
        """Find release, flags and choices without starting the server.

        Raises:
            EngineError: If there is no such engine.
        """
        ...

    def resolve_space(
        self,
        space: SearchSpace,
        capabilities: Capabilities,
        hardware: Hardware,
        model: ModelFacts,
    ) -> ResolvedSpace:
        """Take out what this engine on this hardware lacks; say why for each."""
        ...

    def settle(
        self, configuration: Configuration, capabilities: Capabilities, hardware: Hardware
    ) -> Settled:
        """Split a fixed configuration into what can be set, what is default, what is lacking."""
        ...

    def launch_plan(self, configuration: Configuration, context: LaunchContext) -> LaunchPlan:
        """The command, environment and container settings of a start."""
        ...

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Say before the start whether it is legal and can fit."""
        ...

    def learn(self, record: TrialRecord) -> None:
        """Correct the memory model by what a trial's ledger says."""
        ...

    async def read_back(
        self, configuration: Configuration, capabilities: Capabilities, client: Client, log: str
    ) -> Applied:
        """Ask the running server what it really runs with."""
        ...

    def milestones(self, log: str) -> Mapping[str, int]:
        """Start-up split by the engine's own log: metric tag (startup_*_ns) to nanoseconds."""
        ...

    def ledger(self, log: str) -> MemoryLedger:
        """The engine's own account of its memory."""
        ...

    def explain(self, evidence: Evidence) -> Failure | None:
        """Name the first root cause in the log; None if the engine's texts do not tell."""
        ...

    def gauges(self, metrics_text: str) -> Mapping[str, float | None]:
        """Engine-neutral figures out of its /metrics.

        Keys: kv_usage_ratio, requests_running_count, requests_waiting_count, preemptions_count,
        prefix_queries_tokens, prefix_hits_tokens, offload_queries_tokens, offload_hits_tokens,
        prompt_tokens, generation_tokens. What the release does not give is None.
        """
        ...
