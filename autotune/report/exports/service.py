"""What a recommended trial becomes when nobody measures it any more: an ordinary service."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from autotune.engines.vllm.launch import CONTAINER_HUB
from autotune.engines.vllm.releases import release_table
from autotune.errors import UsageError
from autotune.records import TrialKind, TrialRecord
from autotune.report.exports.command_line import split_command
from autotune.report.exports.harness import (
    HARNESS_FLAGS,
    HARNESS_PASSTHROUGH,
    service_env,
    service_mounts,
    service_shm_bytes,
)
from autotune.report.untrusted import one_line
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.spec.study import StudySpec

SERVICE_PORT: Final = 8000

_SIMULATED: Final = (
    "SIMULATED: no real engine was measured. These settings are a prediction; measure them with "
    "a real study before you rely on them."
)
_EVERY_TRIAL: Final = "as in every trial of the study"

_VARIABLES: Final[Mapping[str, str]] = {"--kv-offloading-size": "KV_OFFLOAD_SIZE"}
"""Options whose variable in `.env` is not simply the option in capitals."""

_FOLDERS: Final[Mapping[str, str]] = {
    str(CONTAINER_HUB): "HF_CACHE",
}
"""Where caches are mounted in a container, and the variable that moves them on the host."""

_IMAGE_PROGRAM: Final = ("vllm", "serve")
"""The command of vLLM's own images, from 0.8.5 to 0.33.0."""

_TUNABLE: Final = re.compile(r"^[A-Za-z0-9/][A-Za-z0-9_./:@+-]*$")
"""Values that mean the same in a shell, in `.env` and in a compose file, unquoted."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of the serve command.

    Attributes:
        flag: With its dashes.
        value: None for a switch.
        parameter: The tuned parameter behind it; empty for what every trial had.
        reason: Why it is there, one sentence.
        variable: Name under which `.env` holds the value; empty if it is not to be changed there.
    """

    flag: str
    value: str | None = None
    parameter: str = ""
    reason: str = ""
    variable: str = ""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server to run, engine-neutral and format-neutral.

    Attributes:
        program: The command before the model, e.g. ("vllm", "serve").
        options: In the order of the trial's own command.
        env: Variables to set, secrets not among them.
        env_reasons: Variable to reason.
        passthrough: Names of variables that are taken from the environment of whoever starts
            it, the secret ones among them.
        image: None if the trial ran as a process.
        digest: "sha256:..." of the image, where known.
        header: Lines about where this came from.
    """

    study: str
    trial: int
    program: tuple[str, ...]
    model: str
    options: tuple[Option, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    env_reasons: Mapping[str, str] = field(default_factory=dict)
    passthrough: tuple[str, ...] = ()
    image: str | None = None
    digest: str | None = None
    bind_host: str = "127.0.0.1"
    port: int = SERVICE_PORT
    container_port: int = SERVICE_PORT
    mounts: tuple[Mount, ...] = ()
    shm_bytes: int | None = None
    memory_limit_bytes: int | None = None
    gpus: bool = False
    health_path: str = "/health"
    startup_timeout_s: float = 900.0
    simulated: bool = False
    header: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those of `passthrough` that must never be written down."""
        return tuple(n for n in self.passthrough if n.endswith(("TOKEN", "KEY")))

    @property
    def container_program(self) -> tuple[str, ...]:
        """The command inside an image: what ran as a process may lie anywhere on the host."""
        return _IMAGE_PROGRAM if self.image is None else self.program

    @property
    def model_variable(self) -> str:
        """Variable that holds the model; empty if its name needs quoting."""
        return "MODEL" if _TUNABLE.match(self.model) else ""

    @property
    def pinned_image(self) -> str | None:
        """The image with its digest, where that is known."""
        if self.image is None or self.digest is None or "@" in self.image:
            return self.image
        return f"{self.image}@{self.digest}"

    def arguments(self, *, host: str, port: int) -> tuple[str, ...]:
        """Program, model and options, as argv."""
        listed = [part for o in self.options
                  for part in ((o.flag,) if o.value is None else (o.flag, o.value))]  # fmt: skip
        return (*self.program, self.model, *listed, "--host", host, "--port", str(port))


def service_from(
    record: TrialRecord,
    launch: LaunchPlan,
    spec: StudySpec,
    *,
    reasons: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> Service:
    """The service that serves a trial's configuration.

    Args:
        record: The trial.
        launch: What was started, out of the trial's folder.
        spec: The study as resolved.
        reasons: Parameter to reason, by the recommendation.
        warnings: What whoever serves it should know; they stand at the head of every file.

    Raises:
        UsageError: If the command is not of a kind that can be exported.
    """
    if record.kind is TrialKind.VERIFY:
        message = f"trial {record.number} ran what another trial was exported to"
        raise UsageError(message, hint="Export that trial: `autotune show` lists them.")
    program, model, raw_options = split_command(launch.argv)
    asked = spec.engine.arguments
    options = _together(
        _option(flag, value, record, reasons or {}, of_study=flag in asked)
        for flag, value in raw_options
        if flag not in HARNESS_FLAGS
    )
    env = service_env(launch, spec)
    return Service(
        study=record.study,
        trial=record.number,
        program=program,
        model=model,
        options=options,
        env=env,
        env_reasons={name: _env_reason(name, record, reasons or {}) for name in env},
        passthrough=tuple(n for n in launch.env_passthrough if n not in HARNESS_PASSTHROUGH),
        image=launch.image,
        digest=_digest(record.environment.get("image_digest"), launch.image),
        bind_host=spec.bind_host,
        port=spec.port or SERVICE_PORT,
        container_port=launch.container_port,
        mounts=service_mounts(launch, spec),
        shm_bytes=service_shm_bytes(record, launch),
        memory_limit_bytes=launch.memory_limit_bytes,
        gpus=launch.gpus,
        health_path=launch.health_path,
        startup_timeout_s=launch.startup_timeout_s,
        simulated=record.simulated,
        header=_header(record, warnings),
    )


def _option(
    flag: str,
    value: str | None,
    record: TrialRecord,
    reasons: Mapping[str, str],
    *,
    of_study: bool,
) -> Option:
    parameter = _parameters().get(flag, "")
    if record.configuration.get(parameter) is None:
        parameter = ""
    reason = _reason(parameter, reasons)
    if not parameter:
        reason = "set in the study file for every trial" if of_study else _EVERY_TRIAL
    variable = ""
    if parameter and value is not None and _TUNABLE.match(value):
        variable = _VARIABLES.get(flag, flag.lstrip("-").replace("-", "_").upper())
    return Option(
        flag=flag, value=value, parameter=parameter, reason=one_line(reason), variable=variable
    )


def _together(options: Iterable[Option]) -> tuple[Option, ...]:
    """Further options of one parameter follow the first: no reason or variable of their own."""
    first: dict[str, str] = {}
    found = []
    for option in options:
        leader = first.setdefault(option.parameter, option.flag) if option.parameter else ""
        if leader and leader != option.flag:
            found.append(replace(option, reason=f"goes with {leader}", variable=""))
        else:
            found.append(option)
    return tuple(found)


def _env_reason(name: str, record: TrialRecord, reasons: Mapping[str, str]) -> str:
    parameter = _parameters().get(name, "")
    if record.configuration.get(parameter) is None:
        return _EVERY_TRIAL
    return _reason(parameter, reasons)


def _reason(parameter: str, reasons: Mapping[str, str]) -> str:
    """What a parameter is, and why it has its value."""
    facts = release_table().find(parameter)
    parts = (parameter if facts is None else facts.title, reasons.get(parameter, ""))
    return one_line(": ".join(part for part in parts if part))


@cache
def _parameters() -> Mapping[str, str]:
    """Options (with dashes) and variables of every release to the parameter behind them."""
    found: dict[str, str] = {}
    for name, facts in release_table().parameters.items():
        for spelling in facts.spellings:
            for flag in spelling.flags:
                found.setdefault(f"--{flag}", name)
                found.setdefault(f"--no-{flag}", name)
            if spelling.env is not None:
                found.setdefault(spelling.env, name)
    return found


def folder_variable(mount: Mount) -> str:
    """Variable that moves a mounted folder on the host; empty if it is not to be moved."""
    return _FOLDERS.get(mount.target, "") if _TUNABLE.match(str(mount.source)) else ""


def _digest(text: str | None, image: str | None) -> str | None:
    """`sha256:...` out of a digest or of NAME@DIGEST; None where the image has none."""
    found = re.search(r"sha256:[0-9a-f]{64}$", text or "")
    # An id of a local image pins nothing that could be pulled: only a NAME@DIGEST does.
    return None if found is None or image is None or "@" not in (text or "") else found.group()


def written_for(text: str) -> int | None:
    """The trial that an exported file says it was written for; None if it does not say."""
    prose = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    found = re.search(r"Written by autotune: trial (\d+) of study ", prose)
    return None if found is None else int(found[1])


def _header(record: TrialRecord, warnings: Sequence[str]) -> tuple[str, ...]:
    environment = record.environment
    lines = []
    if record.simulated:
        lines.append(_SIMULATED)
    release, gpu = environment.get("engine_release"), environment.get("gpu")
    where = [part for part in (gpu, f"engine {release}" if release else "") if part]
    lines.append(
        f"Written by autotune: trial {record.number} of study {record.study}"
        + (f", on {', '.join(where)}" if where else "")
        + "."
    )
    lines.append(
        "The settings were measured together; with one of them changed the figures no longer hold."
    )
    lines += [f"WARNING: {warning}" for warning in warnings]
    return tuple(one_line(line) for line in lines)
