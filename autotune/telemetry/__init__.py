"""What the machine, the engine's processes and its metrics say, sampled through a trial."""

from autotune.seams.deployment import Deployment
from autotune.seams.requests import Client
from autotune.seams.telemetry import Source
from autotune.telemetry.engine_memory import EngineMemorySource
from autotune.telemetry.host import HostSource
from autotune.telemetry.nvml import NvmlSource


def machine_sources() -> tuple[Source, ...]:
    """What can be looked at with no server running."""
    return NvmlSource(), HostSource()


def deployment_sources(deployment: Deployment, _client: Client) -> tuple[Source, ...]:
    """What can be looked at while a server runs; its own metrics come in addition.

    Their source needs the engine: `autotune.telemetry.engine_metrics.EngineMetricsSource`.
    """
    return NvmlSource(deployment), HostSource(), EngineMemorySource(deployment)
