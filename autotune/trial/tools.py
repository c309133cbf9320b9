"""What a trial works with; put together in one place, `autotune.cli.wiring`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autotune.clock import Clock
from autotune.seams.deployment import Deployer, Deployment
from autotune.seams.engine import Engine, LaunchContext
from autotune.seams.events import Observer, ignore
from autotune.seams.probe import Probe
from autotune.seams.requests import Client, Connector
from autotune.seams.telemetry import Source


@dataclass(frozen=True, kw_only=True)
class TrialTools:
    """The rooms that a trial walks through.

    Attributes:
        sources: Telemetry of a running deployment; the client reaches its /metrics.
        machine_sources: What can be looked at while no engine runs: tells when memory is back.
        context: Everything about a start that is not the configuration; port 0 is filled in.
        free_port: Finds a free port on an address.
        probes: By name, in running order.
        environment: Release, digest, GPU, driver, host: goes into every record.
    """

    clock: Clock
    engine: Engine
    deployer: Deployer
    connect: Connector
    sources: Callable[[Deployment, Client], tuple[Source, ...]]
    machine_sources: tuple[Source, ...] = ()
    context: LaunchContext
    free_port: Callable[[str], int]
    probes: Mapping[str, Probe]
    environment: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    observer: Observer = ignore
