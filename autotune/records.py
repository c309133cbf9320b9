"""What a trial leaves behind: frozen values, written to disk before the sampler hears of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Scalar = str | int | float | bool

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Configuration:
    """A value for each active parameter; an absent one means the engine's default.

    Built with `Configuration.of({...})`; equal whatever the order in which it was given.
    """

    items: tuple[tuple[str, Scalar], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Scalar]) -> "Configuration":
        """From a mapping, sorted by name."""
        return cls(tuple(sorted(values.items())))

    @property
    def values(self) -> dict[str, Scalar]:
        """As a new dictionary."""
        return dict(self.items)

    def get(self, name: str) -> Scalar | None:
        """The value of a parameter, None where the engine's default holds."""
        return self.values.get(name)

    def without(self, *names: str) -> "Configuration":
        """A copy that leaves some parameters to the engine."""
        return Configuration(tuple(item for item in self.items if item[0] not in names))

    def updated(self, values: Mapping[str, Scalar]) -> "Configuration":
        """A copy with some parameters set."""
        return Configuration.of({**self.values, **values})

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.items) or "engine defaults"


class OutcomeStatus(StrEnum):
    """How a trial ended.

    MEASURED    every probe answered, every limit kept
    INFEASIBLE  the configuration's own fault: memory, a limit, unsupported, wrong answers
    FAILED      ours or the host's fault; may be retried
    SCREENED    never started: it could not have fitted or is not legal
    """

    MEASURED = "measured"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    SCREENED = "screened"


class FailureKind(StrEnum):
    """Why a trial did not end as measured; the name of the first root cause."""

    GPU_OOM_WEIGHTS = "gpu_oom_weights"
    GPU_OOM_PROFILING = "gpu_oom_profiling"
    GPU_OOM_GRAPHS = "gpu_oom_graphs"
    GPU_OOM_WARMUP = "gpu_oom_warmup"
    GPU_OOM_UNDER_LOAD = "gpu_oom_under_load"
    GPU_OOM = "gpu_oom"
    GPU_MEMORY_TAKEN = "gpu_memory_taken"
    NO_ROOM_FOR_KV = "no_room_for_kv"
    KV_TOO_SMALL = "kv_too_small"
    HOST_OOM = "host_oom"
    CONTAINER_OOM = "container_oom"
    SHM_TOO_SMALL = "shm_too_small"
    PINNING_REFUSED = "pinning_refused"
    MEMORY_LIMIT = "memory_limit"
    UNSUPPORTED_COMBINATION = "unsupported_combination"
    UNKNOWN_ARGUMENT = "unknown_argument"
    INVALID_VALUE = "invalid_value"
    NO_KERNEL = "no_kernel"
    DRIVER_TOO_OLD = "driver_too_old"
    NO_GPU = "no_gpu"
    MODEL_MISSING = "model_missing"
    MODEL_GATED = "model_gated"
    PORT_IN_USE = "port_in_use"
    START_TIMEOUT = "start_timeout"
    CRASHED_AT_START = "crashed_at_start"
    DIED_UNDER_LOAD = "died_under_load"
    HUNG = "hung"
    REQUESTS_FAILED = "requests_failed"
    LIMIT_MISSED = "limit_missed"
    WRONG_ANSWERS = "wrong_answers"
    NOT_APPLIED = "not_applied"
    WOULD_NOT_FIT = "would_not_fit"
    ILLEGAL = "illegal"
    KILLED_FROM_OUTSIDE = "killed_from_outside"
    CLIENT_BOUND = "client_bound"
    DEPLOYER_FAULT = "deployer_fault"
    AUTOTUNE_FAULT = "autotune_fault"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A named failure with its evidence.

    Attributes:
        kind: The root cause.
        phase: Where in the trial: "screening", "deploying", "starting", "warming_up",
            "probe:throughput", "stopping".
        message: One plain line.
        evidence: Excerpts that show it (log lines, exit code), the root cause first.
        needed_gib: What would have been needed, where the text or the model says so.
        available_gib: What there was.
        margin_gib: available - needed; negative by how much it fell short.
        repair: Parameter values that the text itself says would fit.
    """

    kind: FailureKind
    phase: str
    message: str
    evidence: tuple[str, ...] = ()
    needed_gib: float | None = None
    available_gib: float | None = None
    margin_gib: float | None = None
    repair: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended, with the failure unless it was measured."""

    status: OutcomeStatus
    failure: Failure | None = None


class ProbeStatus(StrEnum):
    """How a probe ended."""

    MEASURED = "measured"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The answer to one question asked of a deployment.

    Attributes:
        probe: Its name.
        status: SKIPPED and FAILED carry a reason and no good figure.
        reason: Why it was skipped or failed, one line.
        metrics: Declared tag to raw value; None is "not measured".
        samples: Raw repeats behind a metric, for intervals: tag to values.
        intervals: Tag to (low, high): 95% confidence interval within this one deployment.
        requests_sent: Requests that left the client.
        requests_failed: Error kind to count.
        failure: What ends the trial, where the probe found something that must.
        notes: Lines for people.
        reference: What later trials are held against, where this one is the baseline: becomes
            `ProbeContext.baseline[probe]`; JSON-serialisable.
        start_ns: On the study's clock.
        end_ns: On the study's clock.
        disturbed: What slowed the card down besides the engine, also when the probe was repeated;
            empty for nothing that is known.
    """

    probe: str
    status: ProbeStatus
    reason: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    requests_sent: int = 0
    requests_failed: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    reference: Mapping[str, object] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0
    disturbed: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseSpan:
    """A stretch of a trial on the study's monotonic clock."""

    name: str
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        """Length in nanoseconds."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A setting that was asked for and is not what the server runs with."""

    parameter: str
    asked: Scalar
    got: Scalar | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the running server says about itself.

    Attributes:
        settings: Parameter to effective value, where it could be read.
        mismatches: What was silently replaced or ignored.
        unverified: Parameters asked for whose effect could not be read back.
        kv_cache_tokens: Tokens that the GPU's KV cache holds.
        max_model_len_tokens: The longest request that is allowed.
        sources: Where this was read.
    """

    settings: Mapping[str, Scalar] = field(default_factory=dict)
    mismatches: tuple[Mismatch, ...] = ()
    unverified: tuple[str, ...] = ()
    kv_cache_tokens: int | None = None
    max_model_len_tokens: int | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """A metric held against its bound; `margin` is scaled so that <= 0 means kept."""

    metric: str
    bound: float
    value: float | None
    kept: bool | None


@dataclass(frozen=True, kw_only=True)
class MemoryLedger:
    """The engine's own account of GPU memory, in GiB, read from its log; None where unsaid."""

    weights_gib: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    graphs_gib: float | None = None
    kv_cache_gib: float | None = None
    kv_cache_tokens: int | None = None


class TrialKind(StrEnum):
    """Why a trial was run.

    ABLATION    what would be recommended, less one or several of its settings (or itself beside)
    FINALIST    one of the best, or the default, deployed afresh to prove it
    """

    BASELINE = "baseline"
    SEED = "seed"
    SEARCH = "search"
    REPAIR = "repair"
    RETRY = "retry"
    FINALIST = "finalist"
    ABLATION = "ablation"
    MATRIX = "matrix"
    VERIFY = "verify"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """Everything that is known of one trial.

    Attributes:
        number: Position in the study; the folder's name and Optuna's number.
        label: A cell's name in a matrix, or empty.
        configuration: What was asked for.
        outcome: How it ended.
        metrics: All probes' metrics in one mapping; declared tags, raw values.
        constraints: Name to value, <= 0 is kept; the same names in the same order in each trial
            of a study.
        simulated: Whether no real engine was measured.
        phases: Where the time went.
        left_out: Settings that were asked for and that this engine lacks: parameter to reason.
        command: What was run, as argv; secrets by reference only.
        wall_start: ISO 8601 UTC, a label.
        environment: Release, image digest, GPU, driver, host, as strings.
    """

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    kind: TrialKind
    label: str = ""
    configuration: Configuration
    outcome: Outcome
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    probes: tuple[ProbeResult, ...] = ()
    limits: tuple[LimitCheck, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)
    applied: Applied | None = None
    ledger: MemoryLedger | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)
    simulated: bool = False
    phases: tuple[PhaseSpan, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    wall_start: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_feasible(self) -> bool:
        """Whether it may be recommended.

        A cell of a matrix and a trial of `autotune verify` may not: they are measured whole even
        where a limit is missed, to be compared and not to be chosen.
        """
        return self.is_measured and self.kind not in {TrialKind.MATRIX, TrialKind.VERIFY}

    @property
    def is_measured(self) -> bool:
        """Whether every probe answered and nothing ended it."""
        return self.outcome.status is OutcomeStatus.MEASURED

    @property
    def is_disturbed(self) -> bool:
        """Whether something besides the engine slowed the card down while it was measured."""
        return any(probe.disturbed for probe in self.probes)

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C cut it off: then it is as if it had not been run."""
        failure = self.outcome.failure
        return failure is not None and failure.kind is FailureKind.INTERRUPTED
