"""Studies: what is searched, for which model, on what, towards what, within what."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from autotune.metrics import METRICS, Direction
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.spec.workload import Workload

EngineName = Literal["vllm", "simulated"]
DeployerName = Literal["docker", "process", "simulated"]
Preference = Literal["balanced", "throughput", "latency", "context"]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MODEL_PATTERN = r"^[^\s\x00-\x1f-][^\x00-\x1f]{0,1023}$"
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIALS?)$", re.IGNORECASE)
"""Names of variables that hold secrets; TOKENIZERS_PARALLELISM is none."""

IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,255}$"


class Objective(StrictModel):
    """A metric to push in one direction."""

    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _default_direction(cls, raw: Any) -> Any:
        """A bare tag takes the direction that its declaration says."""
        if isinstance(raw, str):
            raw = {"metric": raw}
        if isinstance(raw, dict) and "direction" not in raw:
            declared = METRICS.get(str(raw.get("metric")))
            if declared is not None and declared.direction is not Direction.NEITHER:
                raw = {**raw, "direction": declared.direction.value}
        return raw

    @field_validator("metric")
    @classmethod
    def _declared(cls, metric: str) -> str:
        return _declared_metric(metric)


class Limit(StrictModel):
    """A metric that must stay within a bound; breaking it makes a trial infeasible.

    `at_most` and `at_least` are in the metric's raw unit (ns, bytes, tokens);
    `at_most_gib` and `at_most_s` are for people.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    at_most_gib: float | None = None
    at_most_s: float | None = None

    @field_validator("metric")
    @classmethod
    def _declared(cls, metric: str) -> str:
        return _declared_metric(metric)

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        given = [b for b in (self.at_most, self.at_least, self.at_most_gib, self.at_most_s)
                 if b is not None]  # fmt: skip
        if len(given) != 1:
            message = "needs exactly one of at_most, at_least, at_most_gib, at_most_s"
            raise ValueError(message)
        return self

    @property
    def upper(self) -> float | None:
        """Upper bound in raw units, None if this is a lower bound."""
        if self.at_most_gib is not None:
            return self.at_most_gib * 1024**3
        if self.at_most_s is not None:
            return self.at_most_s * 1e9
        return self.at_most


def _declared_metric(metric: str) -> str:
    if metric not in METRICS:
        message = f"there is no metric {metric!r}; `autotune metrics` lists them"
        raise ValueError(message)
    return metric


class HeadroomModel(StrictModel):
    """Memory that must stay free on the machine while a trial runs."""

    gpu_gib: float = Field(default=1.0, ge=0)
    host_gib: float = Field(default=9.0, ge=0)


class MountModel(StrictModel):
    """A host folder for the engine's container."""

    source: str
    target: str = Field(pattern=r"^/")
    read_only: bool = False


class EngineModel(StrictModel):
    """Which engine, and what every start of it gets."""

    name: EngineName | None = None  # None: by the machine that is found
    deployer: DeployerName | None = None
    image: str | None = Field(default=None, pattern=IMAGE_PATTERN)
    command: list[str] = Field(default=["vllm", "serve"], min_length=1)
    arguments: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    mounts: list[MountModel] = Field(default_factory=list)
    gpus: bool = True
    release: str | None = None  # simulated: which release is imitated
    hardware: str | None = None  # simulated: which card, e.g. "rtx-5070"
    host_memory_gib: float | None = Field(default=None, gt=0)  # simulated
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        """What a study file holds is recorded, reported and exported."""
        secret = next((name for name in self.env if _SECRET.search(name)), None)
        if secret is not None:
            message = (
                f"env holds {secret}, and a study file is recorded and exported; leave it out and "
                f"`export {secret}=...` before: HF_TOKEN is passed on by name"
            )
            raise ValueError(message)
        if any(argument.split("=")[0] == "--api-key" for argument in self.arguments):
            message = (
                "arguments hold --api-key, and a study file is recorded and exported; trials "
                "listen on bind_host only, so leave it out and give the exported service its key"
            )
            raise ValueError(message)
        return self


class Budget(StrictModel):
    """When a study ends."""

    trials: int = Field(default=40, ge=1, le=100_000)
    timeout_s: float | None = Field(default=None, gt=0)
    startup_timeout_s: float = Field(default=1200.0, gt=0)
    trial_timeout_s: float = Field(default=5400.0, gt=0)
    abort_after_failures: int = Field(default=5, ge=1)
    retries: int = Field(default=1, ge=0)


Sampler = Literal["surrogate", "tpe", "tpe-default", "nsga2", "qmc", "random"]


class Search(StrictModel):
    """How the search spends its trials.

    Attributes:
        sampler: What proposes configurations; benchmarks/search compares them.
        finalists: Best configurations that are deployed afresh at the end, interleaved with the
            baseline; their trials are part of `budget.trials`. 0 for none, and none where they
            would take over a third of it.
        repeats: Deployments of each finalist and of the baseline.
        baseline_every: The baseline is measured again after so many trials; 0 for never.
        stop_below_gain: The search ends early once the expected gain in hypervolume of the best
            proposal is under this share, five times in a row; None to use the whole budget.
    """

    sampler: Sampler = "surrogate"
    finalists: int = Field(default=2, ge=0, le=10)
    repeats: int = Field(default=3, ge=1, le=20)
    baseline_every: int = Field(default=0, ge=0)
    stop_below_gain: float | None = Field(default=None, gt=0, lt=1)


class StudySpec(StrictModel):
    """A study file; every field has a default, so an empty file is a study."""

    name: str = Field(default="default", pattern=NAME_PATTERN)
    description: str = ""
    model: str = Field(default="Qwen/Qwen2.5-7B-Instruct-AWQ", pattern=MODEL_PATTERN)
    revision: str | None = None
    engine: EngineModel = EngineModel()
    space: str | dict[str, Any] = "vllm"
    baseline: dict[str, str | int | float | bool] = Field(default_factory=dict)
    seeds: list[dict[str, str | int | float | bool]] = Field(default_factory=list)
    probes: list[str] = Field(
        default=["startup", "ttft", "throughput", "long_context", "prefix_cache", "memory"],
        min_length=1,
    )
    workload: Workload = Workload()
    objectives: list[Objective] = Field(
        default=[
            Objective(metric="output_tokens_per_s", direction="maximize"),
            Objective(metric="ttft_8k_ns", direction="minimize"),
            Objective(metric="context_capacity_tokens", direction="maximize"),
        ],
        min_length=1,
        max_length=6,
    )
    headroom: HeadroomModel = HeadroomModel()
    limits: list[Limit] = Field(default_factory=list)
    throughput_gain: float = Field(default=1.5, gt=0)
    prefer: Preference = "balanced"
    budget: Budget = Budget()
    search: Search = Search()
    seed: int = Field(default=0, ge=0, lt=2**32)
    bind_host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65535)

    @field_validator("probes")
    @classmethod
    def _known_probes(cls, probes: list[str]) -> list[str]:
        """Known are those that give a declared metric: this layer does not see the probes."""
        known = sorted({metric.probe for metric in METRICS.values()})
        for probe in probes:
            if probe not in known:
                message = f"there is no probe {probe!r}; there are: {', '.join(known)}"
                raise ValueError(message)
        if len(set(probes)) < len(probes):
            message = "probes name one twice"
            raise ValueError(message)
        return probes

    @model_validator(mode="after")
    def _objectives_differ(self) -> Self:
        tags = [o.metric for o in self.objectives]
        if len(set(tags)) < len(tags):
            message = "objectives name a metric twice"
            raise ValueError(message)
        return self


def study_from(raw: Any, *, where: str) -> StudySpec:
    """Read a study from parsed YAML; an empty file is the default study.

    Raises:
        SpecError: Naming the field.
    """
    return validate(StudySpec, {} if raw is None else raw, where=where)


def read_study(path: Path) -> StudySpec:
    """Read a study file.

    Raises:
        SpecError: Naming the file and the field.
    """
    return study_from(read_yaml(path), where=str(path))
