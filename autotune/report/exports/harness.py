"""What a trial's start has only for the measuring, and an ordinary service does not take along."""

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from autotune.engines.vllm.launch import (
    BASE_SHM_BYTES,
    CONTAINER_CACHE,
    CONTAINER_HUB,
    shm_bytes,
)
from autotune.engines.vllm.releases import parse_release
from autotune.errors import EngineError
from autotune.records import TrialRecord
from autotune.report.bounds import whole_bytes
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB

HARNESS_ENVIRONMENT: Final[Mapping[str, str]] = {
    "VLLM_SERVER_DEV_MODE": "opens /server_info and other endpoints to whoever reaches the port",
    "VLLM_LOGGING_LEVEL": "the debug log was read for figures",
    "VLLM_LOG_STATS_INTERVAL": "statistics were logged more often than anybody reads them",
    "VLLM_CACHE_ROOT": "autotune's own cache; a service has the engine's ordinary one",
    "TRITON_CACHE_DIR": "as before",
    "FLASHINFER_WORKSPACE_BASE": "as before",
    "DG_JIT_CACHE_DIR": "as before",
    "HF_HOME": "the weights are mounted where the image looks for them anyway",
}
"""Variables that only the measuring needed, and why they do not leave it."""

HARNESS_PASSTHROUGH: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
"""Docker hands a machine's proxies to every container (~/.docker/config.json, "proxies")."""

HARNESS_FLAGS: Final = frozenset({
    "--host", "--port", "--uvicorn-log-level", "--disable-uvicorn-access-log",
    "--disable-access-log-for-endpoints", "--enable-log-requests", "--disable-log-requests",
})  # fmt: skip
"""Options of a trial's start that an export sets anew or leaves to the engine."""


def service_env(launch: LaunchPlan, spec: StudySpec) -> dict[str, str]:
    """Variables of a service: the trial's, without those of the measuring that nobody asked for."""
    return {
        name: value
        for name, value in launch.env.items()
        if name not in HARNESS_ENVIRONMENT or name in spec.engine.env
    }


def service_mounts(launch: LaunchPlan, spec: StudySpec) -> tuple[Mount, ...]:
    """The trial's folders, without autotune's own cache; weights that lie in it stay mounted."""
    asked = {mount.target for mount in spec.engine.mounts}
    found = []
    for mount in launch.mounts:
        if mount.target != str(CONTAINER_CACHE) or mount.target in asked:
            found.append(mount)
        elif launch.env.get("HF_HOME", "").startswith(f"{CONTAINER_CACHE}/"):
            hub = PurePosixPath(launch.env["HF_HOME"]).relative_to(CONTAINER_CACHE)
            found.append(Mount(source=mount.source / hub, target=str(CONTAINER_HUB)))
    return tuple(found)


def service_shm_bytes(record: TrialRecord, launch: LaunchPlan) -> int | None:
    """Of the trial's container; of a trial without one, what a container would have got.

    Room for the worst rounding of an offload may be more than the machine has: then what the
    trial was seen to need, and where that was not measured, the machine's memory.
    """
    wanted = launch.shm_bytes
    if launch.image is None and wanted is None:
        try:
            release = parse_release(record.environment.get("engine_release", ""))
        except EngineError:
            return None
        wanted = shm_bytes(record.configuration, release)
    memory_bytes = whole_bytes(record.environment.get("host_memory_bytes"))
    if wanted is None or memory_bytes is None or wanted <= memory_bytes:
        return wanted
    seen = record.metrics.get("shm_peak_bytes")
    if seen is None:
        return memory_bytes
    return min(memory_bytes, BASE_SHM_BYTES + math.ceil(seen / BYTES_PER_GIB) * BYTES_PER_GIB)
