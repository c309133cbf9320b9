"""What must hold on this machine before a study's servers are started: room, and who may ask."""

import secrets
from collections.abc import MutableMapping
from typing import Final

from autotune.errors import SpecError, UsageError
from autotune.seams.deployment import LOOPBACK
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec
from autotune.units import bytes_from_gib, gib_from_bytes

KEY_VARIABLE: Final = "VLLM_API_KEY"
_KEY_BYTES: Final = 32


def require_room(spec: StudySpec, hardware: Hardware) -> None:
    """Refuse a headroom that leaves nothing to the engine: every trial would break it.

    Raises:
        SpecError: Naming the field, and what the machine has.
    """
    gpu = hardware.gpu
    sides = [("host_gib", "of memory", spec.headroom.host_gib, hardware.host_memory_bytes)]
    if gpu is not None:
        sides.append(("gpu_gib", "of GPU memory", spec.headroom.gpu_gib, gpu.memory_bytes))
    for field, what, asked_gib, has_bytes in sides:
        if has_bytes and bytes_from_gib(asked_gib) >= has_bytes:
            message = (
                f"headroom -> {field}: {asked_gib:g} GiB shall stay free, and this machine has "
                f"{gib_from_bytes(has_bytes):.1f} GiB {what}"
            )
            raise SpecError(message, hint="Set a smaller headroom in the study file.")


def key_variable(spec: StudySpec) -> str | None:
    """Variable that holds the key of a study's servers: named, or for those that others reach."""
    if spec.engine.api_key_env is not None or spec.bind_host in LOOPBACK:
        return spec.engine.api_key_env
    return KEY_VARIABLE


def authorization(spec: StudySpec, environ: MutableMapping[str, str]) -> dict[str, str]:
    """What every request carries: the server's API key, where it has one.

    For servers that others can reach, and for which no key is named or set, one is made: it lives
    in this process's environment, so in that of its servers, and is written nowhere.
    A process inherits the user's environment, and with it a key that was set for other servers.

    Raises:
        UsageError: If the study names a variable that is not set.
    """
    name = key_variable(spec)
    if name is not None and not environ.get(name):
        if spec.engine.api_key_env is not None:
            message = f"engine -> api_key_env: the variable {name} is not set"
            raise UsageError(message, hint=f"`export {name}=...` before, or leave the field out.")
        environ[name] = secrets.token_urlsafe(_KEY_BYTES)
    if name is None and spec.engine.deployer == "process":
        name = KEY_VARIABLE
    key = "" if name is None else environ.get(name, "")
    return {"Authorization": f"Bearer {key}"} if key else {}


def exposure(spec: StudySpec) -> tuple[str, ...]:
    """What to know of trials that others can reach."""
    if spec.bind_host in LOOPBACK or spec.engine.api_key_env is not None:
        return ()
    warning = (
        f"trials listen on {spec.bind_host}, where others reach them; each request needs the key "
        f"in {KEY_VARIABLE}, or one that was made for this run if that is not set"
    )
    return (warning,)
