"""Everything simulated that a study needs, put together in one place."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from autotune.clock import Clock
from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.arguments import Machine
from autotune.engines.simulated.card import DEFAULT_CARD, Card, card_named
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.deployer import SimulatedDeployer, SimulatedDeployment
from autotune.engines.simulated.engine import SimulatedEngine
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.server import SimulatedServer
from autotune.engines.simulated.sources import SimulatedMachine
from autotune.errors import EngineError
from autotune.seams.deployment import Deployment
from autotune.seams.engine import ModelFacts
from autotune.seams.requests import Client, Connection, Connector, LoadGenerator
from autotune.seams.telemetry import Gpu, Hardware, Source
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_MIB, bytes_from_gib

MakeLoad = Callable[[Client, Clock], LoadGenerator]
MakeSources = Callable[[Deployment, Client], tuple[Source, ...]]


@dataclass(frozen=True, kw_only=True)
class SimulatedBackend:
    """What replaces the real rooms.

    Attributes:
        engine: In place of vLLM.
        deployer: In place of Docker or processes.
        connect: In place of HTTP.
        sources: In place of NVML, psutil and cgroups.
        hardware: The machine that is simulated.
        card: Its GPU's file.
    """

    engine: SimulatedEngine
    deployer: SimulatedDeployer
    connect: Connector
    sources: MakeSources
    hardware: Hardware
    card: Card


def simulated_backend(
    spec: StudySpec, clock: Clock, model: ModelFacts, make_load: MakeLoad
) -> SimulatedBackend:
    """Build the simulated rooms of a study.

    Args:
        spec: Names card, release, host memory and seed.
        clock: A virtual one, as a rule.
        model: As its config.json describes it.
        make_load: The real load generator over a client.

    Raises:
        SpecError: If there is no such card or release.
        ModelError: If the config.json lacks what sizes follow from.
    """
    card = card_named(spec.engine.hardware or DEFAULT_CARD)
    release = release_named(spec.engine.release)
    host_gib = spec.engine.host_memory_gib or card.host_memory_gib
    hardware = hardware_of(card, host_memory_bytes=bytes_from_gib(host_gib))
    machine = Machine(release=release, card=card, shape=shape_of(model), model_name=model.name)
    deployer = SimulatedDeployer(
        machine,
        clock,
        seed=spec.seed,
        host_memory_bytes=hardware.host_memory_bytes,
        shm_bytes=hardware.shm_bytes,
        weights_bytes=model.weights_bytes,
    )

    def sources(deployment: Deployment, client: Client) -> tuple[Source, ...]:
        del client
        if not isinstance(deployment, SimulatedDeployment):
            message = "a simulated machine can only look at simulated deployments"
            raise EngineError(message, hint="Use the backend's own deployer.")
        return (SimulatedMachine(card, deployment, clock, hardware.host_memory_bytes),)

    return SimulatedBackend(
        engine=SimulatedEngine(release),
        deployer=deployer,
        connect=_Connector(deployer, clock, make_load),
        sources=sources,
        hardware=hardware,
        card=card,
    )


def hardware_of(card: Card, *, host_memory_bytes: int) -> Hardware:
    """A machine with one such card.

    All of its memory may be /dev/shm: it stands for one that runs vLLM in containers, and a
    container gets a /dev/shm of its own, as large as its plan asks for.
    """
    gpu = Gpu(
        index=0,
        name=card.title,
        memory_bytes=card.nvml_memory_mib * BYTES_PER_MIB,
        compute_capability=card.compute_capability,
        driver="simulated",
        uuid=f"GPU-simulated-{card.name}",
        reserved_bytes=(card.nvml_memory_mib - card.cuda_memory_mib) * BYTES_PER_MIB,
    )
    return Hardware(
        gpus=(gpu,),
        cpu_count=card.host_cpu_count,
        host_memory_bytes=host_memory_bytes,
        shm_bytes=host_memory_bytes,
        platform="simulated",
    )


class _Connector:
    """Connects to whatever answers at an address."""

    def __init__(self, deployer: SimulatedDeployer, clock: Clock, make_load: MakeLoad) -> None:
        self._deployer, self._clock, self._make_load = deployer, clock, make_load

    def __call__(self, *, base_url: str, model: str) -> AbstractAsyncContextManager[Connection]:
        """Open a connection; the model's name is the server's business."""
        del model
        return self._connection(base_url)

    @asynccontextmanager
    async def _connection(self, base_url: str) -> AsyncIterator[Connection]:
        def find() -> SimulatedServer | None:
            deployment = self._deployer.running_at(base_url)
            if deployment is None or deployment.exit_evidence() is not None:
                return None
            return deployment.server

        client = SimulatedClient(self._clock, find)
        yield Connection(client=client, load=self._make_load(client, self._clock))
