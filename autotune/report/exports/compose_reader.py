"""An exported compose file read back as a launch plan.

So `verify` deploys the file and its `.env` as they are, with and without the compose plugin.
Reads the part of the compose specification that `compose.py` writes; interpolation follows
compose-spec/spec.md, "Interpolation": `${NAME}`, `${NAME:-default}`, `$$`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autotune.errors import SpecError
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.spec.files import read_yaml
from autotune.units import BYTES_PER_GIB, BYTES_PER_KIB, BYTES_PER_MIB

_REFERENCE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^}$]|\$\$)*))?\})")
_SIZE: Final = re.compile(r"^(\d+)([bkmg]?)b?$", re.IGNORECASE)
_FACTORS: Final = {"": 1, "b": 1, "k": BYTES_PER_KIB, "m": BYTES_PER_MIB, "g": BYTES_PER_GIB}


def launch_from_compose(path: Path, environment: Mapping[str, str] | None = None) -> LaunchPlan:
    """The plan that starts the file's one service.

    Args:
        path: The compose file; a `.env` (or `.env.SIMULATED`) beside it is read.
        environment: Variables of the caller; they win over the `.env` file. `VLLM_PORT` moves
            the port.

    Raises:
        SpecError: If the file is not of the kind that `autotune export` writes.
    """
    raw = read_yaml(path)
    try:
        (service,) = raw["services"].values()
        variables = {**env_values(path.parent), **(environment or {})}
        return _plan(_interpolated(service, variables), service.get("environment") or {}, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} is no compose file of one service as `autotune export` writes it"
        raise SpecError(message, hint="Export it again.") from error


def env_values(folder: Path) -> dict[str, str]:
    """Variables of the `.env` file (or `.env.SIMULATED`) in a folder; empty without one.

    Plain NAME=value lines; `env.py` writes no others.
    """
    for name in (".env", ".env.SIMULATED"):
        path = folder / name
        if path.is_file():
            lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
            return {key: value for key, _, value in lines if re.match(r"^[A-Z][A-Z0-9_]*$", key)}
    return {}


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """A string with its references replaced; an empty variable counts as unset for `:-`."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            return "$"
        return variables.get(name) or (default or "").replace("$$", "$")

    return _REFERENCE.sub(value, text)


def _interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return interpolate(node, variables)
    if isinstance(node, dict):
        return {key: _interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(value, variables) for value in node]
    return node


def _plan(service: Mapping[str, Any], written: Mapping[str, Any], path: Path) -> LaunchPlan:
    host, port, container_port = re.split(r":(?=\d+(?::\d+)?$)", service["ports"][0])
    passed = {name for name, value in written.items() if _is_reference(name, value)}
    limit, shm = service.get("mem_limit"), service.get("shm_size")
    started = re.match(r"^(\d+)s$", service.get("healthcheck", {}).get("start_period", ""))
    return LaunchPlan(
        argv=(*service["entrypoint"], *service["command"]),
        env={k: str(v) for k, v in service.get("environment", {}).items() if k not in passed},
        env_passthrough=tuple(name for name in written if name in passed),
        image=service["image"],
        bind_host=host,
        port=int(port),
        container_port=int(container_port),
        mounts=tuple(_mount(volume, path.parent) for volume in service.get("volumes", ())),
        shm_bytes=None if shm is None else _bytes(shm),
        memory_limit_bytes=None if limit is None else _bytes(limit),
        gpus="deploy" in service,
        startup_timeout_s=float(started[1]) if started else 900.0,
    )


def _is_reference(name: str, value: Any) -> bool:
    """Whether a variable is passed on from the caller instead of being set."""
    return value is None or value in {f"${{{name}:-}}", f"${{{name}}}"}


def _mount(volume: Mapping[str, Any], folder: Path) -> Mount:
    source = Path(volume["source"]).expanduser()
    return Mount(
        source=source if source.is_absolute() else (folder / source).resolve(),
        target=volume["target"],
        read_only=bool(volume.get("read_only", False)),
    )


def _bytes(text: str) -> int:
    found = _SIZE.match(str(text))
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _FACTORS[found[2].lower()]
