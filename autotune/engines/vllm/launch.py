"""A configuration as a command: argv, environment and container settings of `vllm serve`.

Nothing is written that the release at hand does not know; asking for it is an error here, for
`legality.settle` and `legality.refusal` come first.

The log stays at INFO. From 0.11.0 to 0.20.2 the engine's full account of memory is a DEBUG line,
but at that level the model runner also writes a line per step ("Running batch with
cudagraph_mode", v1/worker/gpu_model_runner.py, 0.13.0 and 0.20.2), which would slow what is
measured and push the rest out of the log.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from autotune.engines.vllm.compatibility import Circumstances, circumstances
from autotune.engines.vllm.parameters import SHM_OFFLOAD_FIRST, spelling
from autotune.engines.vllm.releases import Release, Spelling, release_table
from autotune.errors import EngineError
from autotune.records import Configuration, Scalar
from autotune.seams.deployment import LOOPBACK, LaunchPlan, Mount
from autotune.seams.engine import LaunchContext
from autotune.units import BYTES_PER_GIB, bytes_from_gib

CONTAINER_PORT: Final = 8000
CONTAINER_CACHE: Final = Path("/var/cache/autotune")
CONTAINER_HUB: Final = Path("/root/.cache/huggingface")

BASE_SHM_BYTES: Final = BYTES_PER_GIB
"""A container's /dev/shm without offload. Docker's 64 MiB are too few: the queue between engine
core and workers alone is ten chunks of 16 MiB, more by VLLM_MQ_MAX_CHUNK_BYTES_MB (envs.py,
v1/executor/multiproc_executor.py), and a tmpfs takes memory only as it is filled."""

SHM_PER_OFFLOAD: Final = 2.0
"""Room in /dev/shm per byte of offload from 0.27.0 on. It takes what is asked for
(v1/kv_offload/cpu/shared_offload_region.py); the size is a bound, not a reservation."""

PASSED_ON: Final = ("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of the controller that every start gets by name; VLLM_API_KEY where a study says so
(`envs.py`, read by the server itself, 0.8.5 to 0.33.0)."""


def launch_plan(configuration: Configuration, context: LaunchContext) -> LaunchPlan:
    """Write the start of a server.

    Raises:
        EngineError: If the release at hand cannot be told one of the settings.
    """
    at = circumstances(context.capabilities, context.hardware, context.model)
    said = settings(configuration, at)
    contained = context.target.image is not None
    return LaunchPlan(
        argv=_argv(context, said.arguments, contained=contained),
        env={**_environment(context, contained=contained), **context.target.env, **said.env},
        env_passthrough=(*PASSED_ON, *filter(None, [context.target.api_key_env])),
        image=context.target.image,
        bind_host=context.bind_host,
        port=context.port,
        container_port=CONTAINER_PORT,
        mounts=_mounts(context) if contained else (),
        shm_bytes=shm_bytes(configuration, at.release) if contained else None,
        memory_limit_bytes=context.memory_limit_bytes if contained else None,
        gpus=context.target.gpus and at.platform != "cpu",
        startup_timeout_s=context.startup_timeout_s,
    )


class Said:
    """Settings as options and variables."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.env: dict[str, str] = {}
        self._json: dict[str, dict[str, Scalar]] = {}

    def say(self, way: Spelling, value: Scalar) -> None:
        """Add one setting."""
        if way.env is not None:
            self.env[way.env] = _text(int(value) if isinstance(value, bool) else value)
        elif way.pair is not None:
            self.arguments.append(f"--{way.pair}" if value else f"--no-{way.pair}")
        elif way.switch is not None:
            self.arguments += [f"--{way.switch}"] if value else []
        elif way.json_flag is not None and way.key is not None:
            self._json.setdefault(way.json_flag, {})[way.key] = value
        else:
            self.arguments += [f"--{way.flag}", _text(_scaled(value, way.scale))]
        self.arguments += way.also

    def finish(self) -> "Said":
        """Write the options that take JSON, each once with all its keys."""
        for flag, fields in self._json.items():
            self.arguments += [f"--{flag}", json.dumps(fields)]
        self._json.clear()
        return self


def settings(configuration: Configuration, at: Circumstances) -> Said:
    """Options and variables of a configuration; the engine's defaults send nothing.

    Raises:
        EngineError: If the release at hand cannot be told one of them.
    """
    said = Said()
    for name, value in configuration.items:
        facts = release_table().find(name)
        if facts is None:
            message = f"vLLM has no parameter {name!r}"
            raise EngineError(message, hint=f"It has: {', '.join(release_table().parameters)}.")
        default = facts.default(at.release, at.platform)
        if facts.is_default(value, at.release, at.platform) and not (default and default.say):
            continue
        way = spelling(name, at)
        if way is None:
            message = f"{name}={value}: {facts.absence(at.release, at.platform)}"
            raise EngineError(message, hint="Leave it out, or use another release of vLLM.")
        said.say(way, facts.own_name(value, at.release, at.platform))
    return said.finish()


def _scaled(value: Scalar, scale: int) -> Scalar:
    if scale == 1 or isinstance(value, str):
        return value
    return round(value * scale)


def _text(value: Scalar) -> str:
    """A number without a needless fraction: 32.0 is 32."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _argv(context: LaunchContext, arguments: list[str], *, contained: bool) -> tuple[str, ...]:
    host = "0.0.0.0" if contained else context.bind_host  # noqa: S104 - inside the container
    port = CONTAINER_PORT if contained else context.port
    argv = [*context.target.command, _model_path(context.model.name)]
    argv += ["--host", host, "--port", str(port)]
    if context.served_name:
        argv += ["--served-model-name", context.served_name]
    if context.model.revision:
        argv += ["--revision", context.model.revision]
    # The search's own settings come last: where an option is given twice, the last one counts.
    return (*argv, *context.fixed_arguments, *arguments)


def _model_path(name: str) -> str:
    """A folder by its absolute path, a hub id as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.is_dir() else name


def _environment(context: LaunchContext, *, contained: bool) -> dict[str, str]:
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if context.bind_host in LOOPBACK:
        # /server_info and /reset_prefix_cache. vLLM asks for its API key at /v1, /v2, /inference
        # and /cohere alone (AuthenticationMiddleware, 0.11.2 to 0.32.0): never on an open address.
        env["VLLM_SERVER_DEV_MODE"] = "1"
    if contained and _host_hub().is_dir():
        env["HF_HOME"] = str(CONTAINER_HUB)
    elif contained and context.cache_dir is not None:
        env["HF_HOME"] = str(CONTAINER_CACHE / "huggingface")
    if context.cache_dir is not None:
        root = CONTAINER_CACHE if contained else context.cache_dir
        env |= {
            "VLLM_CACHE_ROOT": str(root / "vllm"),
            "TRITON_CACHE_DIR": str(root / "triton"),
            "FLASHINFER_WORKSPACE_BASE": str(root / "flashinfer"),
            "DG_JIT_CACHE_DIR": str(root / "deep_gemm"),
        }
    return env


def _mounts(context: LaunchContext) -> tuple[Mount, ...]:
    """The target's folders, the hub's cache, the compile caches, and a model that is a folder."""
    mounts = list(context.target.mounts)
    targets = {m.target for m in mounts}
    if str(CONTAINER_HUB) not in targets and _host_hub().is_dir():
        mounts.append(Mount(source=_host_hub(), target=str(CONTAINER_HUB)))
    if context.cache_dir is not None:
        mounts.append(Mount(source=context.cache_dir.resolve(), target=str(CONTAINER_CACHE)))
    model = Path(_model_path(context.model.name))
    if model.is_absolute() and not _inside(model, targets):
        mounts.append(Mount(source=model, target=str(model), read_only=True))
    return tuple(mounts)


def _host_hub() -> Path:
    """Where weights lie on this machine; a container shares it if it is there."""
    return Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()


def _inside(path: Path, folders: Iterable[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def shm_bytes(configuration: Configuration, release: Release) -> int:
    """Size of a container's /dev/shm for a configuration."""
    offload_gib = configuration.get("kv_offload_gib")
    if not isinstance(offload_gib, int | float) or release < SHM_OFFLOAD_FIRST:
        return BASE_SHM_BYTES
    return BASE_SHM_BYTES + bytes_from_gib(SHM_PER_OFFLOAD * offload_gib)
