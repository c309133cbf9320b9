"""Studies: what is searched, for which model, on what, towards what, within what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from autotune.errors import SpecError
from autotune.metrics import METRICS
from autotune.spec.bounds import Bounded, Count, Gib, GibAboveZero, SecondsAboveZero
from autotune.spec.files import StrictModel, pattern, read_yaml, validate
from autotune.spec.objectives import Limit, Objective, unmeasured
from autotune.spec.parameters import DEFAULT
from autotune.spec.secret_values import is_secret_name, secrets_in
from autotune.spec.vocabulary import nearest
from autotune.spec.workload import Workload

__all__ = [
    "Budget",
    "DeployerName",
    "EngineModel",
    "EngineName",
    "HeadroomModel",
    "Limit",
    "MountModel",
    "Objective",
    "Preference",
    "Sampler",
    "Search",
    "Setting",
    "StudySpec",
    "read_study",
    "require_measured",
    "study_from",
]

EngineName = Literal["vllm", "simulated"]
DeployerName = Literal["docker", "process", "simulated"]
Preference = Literal["balanced", "throughput", "latency", "context"]

NAME_PATTERN = pattern(
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first: it is a "
    "folder's name",
)
MODEL_PATTERN = pattern(
    r"^[^\s\x00-\x1f\x7f-\x9f-][^\x00-\x1f\x7f-\x9f]{0,1023}$",
    "a hub id or a folder, with no dash at its beginning and no control character",
)
IMAGE_PATTERN = pattern(
    r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,255}$", "an image's name, like vllm/vllm-openai:v0.33.0"
)
FOLDER_PATTERN = pattern(r"^/", "an absolute path")
VARIABLE_PATTERN = pattern(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable")

Setting = str | int | float | bool
"""A parameter's value in a file."""


class HeadroomModel(StrictModel):
    """Memory that must stay free on the machine while a trial runs."""

    gpu_gib: Gib = 1.0
    host_gib: Gib = 9.0


class MountModel(StrictModel):
    """A host folder for the engine's container."""

    source: str
    target: str = Field(pattern=FOLDER_PATTERN)
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
    api_key_env: Literal["VLLM_API_KEY"] | None = None  # set there: every request needs the key
    release: str | None = None  # simulated: which release is imitated
    hardware: str | None = None  # simulated: which card, e.g. "rtx-5070"
    host_memory_gib: GibAboveZero | None = None  # simulated
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        """What a study file holds is recorded, reported and exported."""
        secret = next((name for name in self.env if is_secret_name(name)), None)
        if secret is not None:
            message = (
                f"env holds {secret}, and a study file is recorded and exported; leave it out and "
                f"`export {secret}=...` before: HF_TOKEN is passed on by name"
            )
            raise ValueError(message)
        if any(argument.split("=")[0] == "--api-key" for argument in self.arguments):
            message = (
                "arguments hold --api-key, and a study file is recorded and exported; leave it "
                "out, `export VLLM_API_KEY=...` and set engine.api_key_env: VLLM_API_KEY"
            )
            raise ValueError(message)
        return self


ENOUGH_TO_REPEAT = 10
"""Trials of a budget from which on the baseline is measured twice without being asked."""


class Budget(StrictModel):
    """When a study ends.

    Attributes:
        baseline_repeats: How often the baseline is measured at the start, which tells the noise
            floor, and again when the study goes on upon another machine; part of `trials`. None:
            twice, and once in a budget under 10 trials, of which it would be a tenth and more.
        retries: How often a trial that the host failed, or that was disturbed, is run again,
            beside `trials`.
    """

    trials: int = Field(default=40, ge=1, le=100_000)
    timeout_s: SecondsAboveZero | None = None
    startup_timeout_s: SecondsAboveZero = 1200.0
    trial_timeout_s: SecondsAboveZero = 5400.0
    abort_after_failures: Count = 5
    retries: int = Field(default=1, ge=0, le=100)
    baseline_repeats: int | None = Field(default=None, ge=1, le=20)

    @property
    def baselines_at_start(self) -> int:
        """`baseline_repeats`, or what stands for it."""
        if self.baseline_repeats is not None:
            return self.baseline_repeats
        return 2 if self.trials >= ENOUGH_TO_REPEAT else 1


Sampler = Literal["surrogate", "tpe", "tpe-default", "nsga2", "qmc", "random"]


class Search(StrictModel):
    """How the search spends its trials.

    Attributes:
        sampler: What proposes configurations; benchmarks/search compares them.
        finalists: Best configurations that are deployed afresh at the end, interleaved with the
            baseline; their trials are part of `budget.trials`. 0 for none, and none where they
            would take over a third of it.
        repeats: Deployments of each finalist, of the baseline, and of what ablation leaves.
        ablations: Most trials that take settings away again from the finalist that won, to keep
            only what pays; part of `budget.trials`. 0 for none, and none where they and the
            finalists would take over 45% of it.
        baseline_every: The baseline is measured again after so many trials without it, so that a
            drift of the machine is seen; part of `budget.trials`. 0 for never.
        prior: What the search starts from: "auto" is the simulated card of the GPU's kind where
            there is one, "memory" the memory model alone.
        stop_below_gain: The search ends early once the expected gain in hypervolume of the best
            proposal is under this share, five times in a row; None to use the whole budget.
    """

    sampler: Sampler = "surrogate"
    finalists: int = Field(default=2, ge=0, le=10)
    repeats: int = Field(default=3, ge=1, le=20)
    ablations: int = Field(default=8, ge=0, le=100)
    baseline_every: int = Field(default=15, ge=0)
    prior: Literal["auto", "memory"] = "auto"
    stop_below_gain: float | None = Field(default=None, gt=0, lt=1)


class StudySpec(StrictModel):
    """A study file; every field has a default, so an empty file is a study.

    Attributes:
        seeds: Configurations that are measured before the search.
        hints: Configurations that are among the search's candidates.
        source: `from` in a file: an earlier study, whose best are seeds too.
        fresh: Whether nothing is taken from earlier studies.
    """

    name: str = Field(default="default", pattern=NAME_PATTERN)
    description: str = ""
    model: str = Field(default="Qwen/Qwen2.5-7B-Instruct-AWQ", pattern=MODEL_PATTERN)
    revision: str | None = None
    engine: EngineModel = EngineModel()
    space: str | dict[str, Any] = "vllm"
    baseline: dict[str, Setting] = Field(default_factory=dict)
    seeds: list[dict[str, Setting]] = Field(default_factory=list)
    hints: list[dict[str, Setting]] = Field(default_factory=list)
    source: str | None = Field(default=None, alias="from", min_length=1, max_length=64)
    fresh: bool = False
    probes: list[str] = Field(
        default=[
            "startup",
            "ttft",
            "correctness",
            "throughput",
            "long_context",
            "prefix_cache",
            "memory",
        ],
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
    throughput_gain: Bounded = 1.5
    prefer: Preference = "balanced"
    budget: Budget = Budget()
    search: Search = Search()
    seed: int = Field(default=0, ge=0, lt=2**32)
    bind_host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65535)

    @model_validator(mode="after")
    def _no_secret_anywhere(self) -> Self:
        """What a study file holds is recorded, reported and exported."""
        place = next(secrets_in(self.model_dump()), None)
        if place is not None:
            message = (
                f"{place} holds what looks like a password or a token, and a study file is "
                f"recorded and exported; leave it out, and set HF_TOKEN in the environment"
            )
            raise ValueError(message)
        return self

    @field_validator("baseline")
    @classmethod
    def _default_is_absent(cls, values: dict[str, Setting]) -> dict[str, Setting]:
        """As in a space, `default` leaves a parameter to the engine."""
        return {name: value for name, value in values.items() if value != DEFAULT}

    @field_validator("seeds", "hints")
    @classmethod
    def _defaults_are_absent(cls, seeds: list[dict[str, Setting]]) -> list[dict[str, Setting]]:
        return [cls._default_is_absent(seed) for seed in seeds]

    @model_validator(mode="after")
    def _from_something_or_nothing(self) -> Self:
        if self.fresh and self.source is not None:
            message = "`fresh: true` takes nothing from earlier studies, and `from` names one"
            raise ValueError(message)
        return self

    @field_validator("probes")
    @classmethod
    def _known_probes(cls, probes: list[str]) -> list[str]:
        """Known are those that give a declared metric: this layer does not see the probes."""
        known = sorted({metric.probe for metric in METRICS.values()})
        for probe in probes:
            if probe not in known:
                meant = nearest(probe, known)
                message = f"there is no probe {probe!r}{meant} (there are: {', '.join(known)})"
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

    @model_validator(mode="after")
    def _limits_can_be_kept(self) -> Self:
        for one in self.limits:
            for other in self.limits:
                upper, lower = one.upper, other.at_least
                if one.metric == other.metric and upper is not None and lower is not None \
                        and upper < lower:  # fmt: skip
                    message = f"limits on {one.metric} contradict each other: nothing keeps both"
                    raise ValueError(message)
        return self


def require_measured(spec: StudySpec, *, where: str) -> None:
    """Refuse objectives and limits that no probe of the study gives.

    They would make every trial useless, one by one. Studies that were run are read without this.

    Raises:
        SpecError: Naming the field, and what to add.
    """
    wanted = [("objectives", i, o.metric) for i, o in enumerate(spec.objectives)]
    wanted += [("limits", i, limit.metric) for i, limit in enumerate(spec.limits)]
    for field, index, metric in wanted:
        add = unmeasured(metric, spec.probes, spec.workload.long_context_tokens)
        if add is not None:
            message = f"{where}: {field} -> {index}: nothing in this study measures {metric}"
            raise SpecError(message, hint=f"Add {add}, or name another metric.")


def study_from(raw: Any, *, where: str, options: Mapping[str, str] | None = None) -> StudySpec:
    """Read a study from parsed YAML; an empty file is the default study.

    Args:
        raw: As parsed.
        where: Name of the file, for messages.
        options: Dotted keys whose values came from the command line, to the option's name.

    Raises:
        SpecError: Naming the field or the option.
    """
    return validate(StudySpec, {} if raw is None else raw, where=where, options=options)


def read_study(path: Path) -> StudySpec:
    """Read a study file.

    Raises:
        SpecError: Naming the file and the field.
    """
    return study_from(read_yaml(path), where=str(path))
