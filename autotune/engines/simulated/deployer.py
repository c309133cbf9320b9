"""Deploys simulated servers: the start, the log and the end take virtual time, no process runs."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np

from autotune.clock import Clock
from autotune.engines.simulated import words
from autotune.engines.simulated.arguments import Machine, settings_from
from autotune.engines.simulated.boot import Boot, Caches
from autotune.engines.simulated.enginelog import API, EngineLog
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom
from autotune.engines.simulated.refusals import Refusal, StartRefused, core_error
from autotune.engines.simulated.server import SimulatedServer
from autotune.errors import PortInUseError
from autotune.seams.deployment import Deployment, ExitEvidence, Identity, LaunchPlan

_STOP_S: Final = 0.8
"""From the signal to the end of an idle server."""
_DEATH_S: Final = 5.0
"""The API server ends itself so long after its engine (watchdog in `launcher.py`)."""
_SIGKILL: Final = 9


class SimulatedDeployment:
    """A server from its start to its end.

    Args:
        launch: What was asked for.
        log_path: Where it writes.
        clock: Of the study.
    """

    def __init__(self, launch: LaunchPlan, log_path: Path, clock: Clock) -> None:
        self._launch, self._log_path, self._clock = launch, log_path, clock
        self.started_at_ns = clock.now_ns()
        self.server: SimulatedServer | None = None
        self._exit: ExitEvidence | None = None
        self._ended = asyncio.Event()
        self.journal = EngineLog(log_path, lambda: clock.now_ns() - self.started_at_ns)

    @property
    def base_url(self) -> str:
        """Where it would answer."""
        return self._launch.base_url

    @property
    def log_path(self) -> Path:
        """Its output."""
        return self._log_path

    @property
    def started_ns(self) -> int:
        """When it was started."""
        return self.started_at_ns

    def pids(self) -> tuple[int, ...]:
        """No process of the host is behind it."""
        return ()

    def cgroup(self) -> Path | None:
        """None: there is no process."""
        return None

    def exit_evidence(self) -> ExitEvidence | None:
        """How it ended; None while it runs."""
        return self._exit

    @property
    def is_out_of_sight(self) -> bool:
        """Never."""
        return False

    async def wait_exit(self) -> ExitEvidence:
        """Wait for its end."""
        await self._ended.wait()
        return self._exit or ExitEvidence()

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """End it."""
        if self._exit is None:
            await self._clock.sleep(min(grace_s, _STOP_S))
        if self._exit is None:
            self.journal.raw("INFO:     Shutting down")
            self.end(ExitEvidence(exit_code=0, stopped_by_us=True))
        return self._exit or ExitEvidence()

    def end(self, evidence: ExitEvidence) -> None:
        """It is gone."""
        if self._exit is not None:
            return
        self._exit = evidence
        if self.server is not None:
            self.server.die()
        self._ended.set()

    def refused(self, refusal: Refusal) -> None:
        """It does not come up."""
        self.journal.refused(refusal)
        contained = self._launch.image is not None
        if refusal.exit_code == 137 and not contained:
            evidence = ExitEvidence(signal=_SIGKILL, exit_code=-_SIGKILL)
        else:
            oom = refusal.oom_killed if contained else None
            evidence = ExitEvidence(exit_code=refusal.exit_code, oom_killed=oom)
        self.end(evidence)

    async def engine_died(self, text: str) -> None:
        """The engine core dies under load; the API server follows with exit code 0 (#48966)."""
        last_words = core_error(text, frame="execute_model").lines
        for line in ("EngineCore encountered a fatal error.", *last_words):
            self.journal.error("core.py:1145", line)
        self.journal.error("async_llm.py:708", words.ENGINE_DEAD, process=API)
        if self.server is not None:
            self.server.die()
        await self._clock.sleep(_DEATH_S)
        self.end(ExitEvidence(exit_code=0))


class SimulatedDeployer:
    """Starts simulated servers on one simulated machine.

    Args:
        machine: Card, model and release.
        clock: Of the study.
        seed: Of the study.
        host_memory_bytes: Of the machine.
        shm_bytes: Of its /dev/shm.
        weights_bytes: Size of the checkpoint, where it is known.
    """

    name = "simulated"

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        *,
        seed: int,
        host_memory_bytes: int,
        shm_bytes: int,
        weights_bytes: int | None = None,
    ) -> None:
        self._machine, self._clock, self._seed = machine, clock, seed
        self._host_memory_bytes, self._shm_bytes = host_memory_bytes, shm_bytes
        self._weights_bytes = weights_bytes
        self._caches = Caches()
        self._running: dict[str, SimulatedDeployment] = {}

    @property
    def machine(self) -> Machine:
        """What it simulates."""
        return self._machine

    def running_at(self, base_url: str) -> SimulatedDeployment | None:
        """The deployment at an address."""
        return self._running.get(base_url)

    def running(self) -> SimulatedDeployment | None:
        """The deployment that runs, if there is one."""
        return next(iter(self._running.values()), None)

    async def preflight(self, plan: LaunchPlan) -> None:
        """Nothing can be missing but a free port.

        Raises:
            PortInUseError: If a deployment of this study has it.
        """
        if plan.base_url in self._running:
            message = f"another deployment answers at {plan.base_url}"
            raise PortInUseError(message, hint="Stop it first.")

    def deploy(
        self, plan: LaunchPlan, *, identity: Identity, log_path: Path
    ) -> AbstractAsyncContextManager[Deployment]:
        """Start a server; returns as soon as it has been started."""
        return self._deployed(plan, identity, log_path)

    async def sweep(self, study: str) -> tuple[str, ...]:
        """Nothing survives the program that simulated it."""
        del study
        return ()

    @asynccontextmanager
    async def _deployed(
        self, launch: LaunchPlan, identity: Identity, log_path: Path
    ) -> AsyncIterator[Deployment]:
        await self.preflight(launch)
        _make_empty(log_path)
        deployment = SimulatedDeployment(launch, log_path, self._clock)
        self._running[launch.base_url] = deployment
        boot = asyncio.create_task(self._boot(deployment, launch, self._random(launch, identity)))
        try:
            yield deployment
        finally:
            del self._running[launch.base_url]
            boot.cancel()
            with suppress(asyncio.CancelledError):
                await boot
            deployment.end(ExitEvidence(exit_code=0, stopped_by_us=True))

    def _random(self, launch: LaunchPlan, identity: Identity) -> np.random.Generator:
        """Noise that follows from the study's seed, the trial's number and its settings."""
        argv = [w for w in launch.argv if w != str(launch.port)]
        text = f"{self._seed}\n{identity.trial}\n{argv}\n{sorted(launch.env)}"
        digest = hashlib.sha256(text.encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    async def _boot(
        self, deployment: SimulatedDeployment, launch: LaunchPlan, random: np.random.Generator
    ) -> None:
        machine, clock = self._machine, self._clock
        boot = Boot(
            machine.card,
            machine.shape,
            deployment.journal,
            clock,
            random=random,
            caches=self._caches,
        )
        await boot.imports(machine.release.name)
        try:
            settings = settings_from(launch.argv, launch.env, machine)
            truth = MemoryTruth(
                machine.card, machine.shape, settings, self._room(launch), self._weights_bytes
            )
            memory = await boot.engine(settings, truth)
        except StartRefused as refused:
            deployment.refused(refused.refusal)
            return
        boot.serving(settings, f"{launch.bind_host}:{launch.port}")
        deployment.server = SimulatedServer(
            machine.card, machine.shape, settings, memory, clock, random=random
        )
        if memory.bursts_under_load:
            await self._burst(deployment, deployment.server)

    async def _burst(self, deployment: SimulatedDeployment, server: SimulatedServer) -> None:
        """Die when a batch first fills the token budget: the card has no room for its peak."""
        full = asyncio.Event()
        plan, budget = server.plan, server.settings.token_budget

        def watch(step: object, _ends: object) -> None:
            if step.load.tokens >= budget // 2:  # type: ignore[attr-defined]
                full.set()

        server.core.on_step(watch)
        await full.wait()
        wanted = plan.activation / 3
        await deployment.engine_died(words.cuda_oom(wanted, plan.total, wanted / 4, plan.total))

    def _room(self, launch: LaunchPlan) -> HostRoom:
        contained = launch.image is not None
        shm = launch.shm_bytes if launch.shm_bytes is not None else self._shm_bytes
        return HostRoom(
            memory_bytes=self._host_memory_bytes,
            shm_bytes=min(shm, self._host_memory_bytes) if contained else self._shm_bytes,
            limit_bytes=launch.memory_limit_bytes,
        )


def _make_empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
