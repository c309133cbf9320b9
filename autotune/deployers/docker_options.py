"""A launch plan as the settings of a container."""

import os
from collections.abc import Mapping
from typing import Any, Final

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from autotune.deployers.marks import labels
from autotune.errors import DeployerError
from autotune.seams.deployment import Identity, LaunchPlan

FIRST_CHOICE: Final = 1000
"""oom_score_adj: the kernel's OOM killer takes the trial before anything else (proc(5))."""

STACK_BYTES: Final = 64 * 1024**2
"""With memlock unlimited, what NVIDIA's framework images ask for (`docker run --ulimit`)."""

KEPT_CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""Files in mounted caches belong to the user, and the server runs as root in its container.
Everything else is dropped; the NVIDIA runtime needs none of the server's capabilities."""

CONCESSIONS: Final = (
    ("error setting rlimit", "ulimits"),  # the engine itself may not raise them (rootless)
    ("oom_score_adj", "oom_score_adj"),
)
"""Texts of refusals and the setting that a start can do without."""


def container_name(identity: Identity, deployment: str) -> str:
    """A name that says whose it is and that nobody else has."""
    return f"autotune-{identity.study}-{identity.trial:04d}-{deployment[:8]}"


def container_options(
    plan: LaunchPlan, identity: Identity, deployment: str, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Arguments of the Docker client's `containers.create`.

    The container is private in everything that can be (shared memory included, never `ipc:
    host`), has no privileges, cannot gain any, and is never started again by the engine.

    Raises:
        DeployerError: If the plan names no image.
    """
    if plan.image is None:
        message = "the docker deployer needs an image"
        raise DeployerError(message, hint="Set `engine.image` in the study, or give --image.")
    options: dict[str, Any] = {
        "image": plan.image,
        "entrypoint": [plan.argv[0]],
        "command": list(plan.argv[1:]),
        "name": container_name(identity, deployment),
        "labels": labels(identity, deployment),
        "environment": {**plan.env, **passed_through(plan, environ)},
        "ports": {f"{plan.container_port}/tcp": (plan.bind_host, plan.port)},
        "mounts": [
            Mount(
                target=mount.target,
                source=str(mount.source.expanduser().absolute()),
                type="bind",
                read_only=mount.read_only,
            )
            for mount in plan.mounts
        ],
        "ipc_mode": "private",
        "cap_drop": ["ALL"],
        "cap_add": list(KEPT_CAPABILITIES),
        "security_opt": ["no-new-privileges=true"],
        "privileged": False,
        "oom_score_adj": FIRST_CHOICE,
        "restart_policy": {"Name": "no"},
        "ulimits": [
            Ulimit(name="memlock", soft=-1, hard=-1),
            Ulimit(name="stack", soft=STACK_BYTES, hard=STACK_BYTES),
        ],
        # The output is read from the stream. The engine's own log would be a second copy, may go
        # to a remote host or the system's journal, and slows a flood of short lines to 1 MB/s
        # (measured on 20.10, json-file), which blocks the server.
        "log_config": LogConfig(type="none"),
        "stdin_open": False,
        "tty": False,
    }
    if plan.shm_bytes is not None:
        options["shm_size"] = plan.shm_bytes
    if plan.memory_limit_bytes is not None:
        options["mem_limit"] = plan.memory_limit_bytes
        options["memswap_limit"] = plan.memory_limit_bytes  # no swap on top
    if plan.gpus:
        options["device_requests"] = [_gpus(environ.get("CUDA_VISIBLE_DEVICES"))]
    return options


def conceded(options: Mapping[str, Any], refusal: str) -> dict[str, Any] | None:
    """The settings less the one that an engine has refused; None if it must have that one."""
    for fragment, name in CONCESSIONS:
        if fragment in refusal and name in options:
            return {key: value for key, value in options.items() if key != name}
    return None


def passed_through(plan: LaunchPlan, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that the plan names and this program's environment has."""
    return {name: environ[name] for name in plan.env_passthrough if name in environ}


def _gpus(visible: str | None) -> DeviceRequest:
    """All GPUs, or those that CUDA_VISIBLE_DEVICES leaves to this user."""
    chosen = [part.strip() for part in (visible or "").split(",") if part.strip()]
    if chosen:
        return DeviceRequest(device_ids=chosen, capabilities=[["gpu"]])
    return DeviceRequest(count=-1, capabilities=[["gpu"]])
