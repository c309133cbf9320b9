"""Fakes behind the seams, for trials without any engine. Times are those of a virtual clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune.clock import Clock
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    MemoryLedger,
    ProbeResult,
    ProbeStatus,
    TrialRecord,
)
from autotune.seams.deployment import ExitEvidence, Identity, LaunchPlan
from autotune.seams.engine import (
    Capabilities,
    EngineTarget,
    Evidence,
    LaunchContext,
    ModelFacts,
    ResolvedSpace,
    Screening,
    Settled,
)
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import (
    Connection,
    GenerationRequest,
    HttpAnswer,
    LoadPlan,
    LoadResult,
    RequestRecord,
)
from autotune.seams.telemetry import Hardware
from autotune.spec.space import SearchSpace


@dataclass
class Script:
    """What the fake server does.

    Attributes:
        healthy_after_s: None never.
        sick_after_s: From then on /health is not answered; None never.
        dies_after_s: Since its start; None never.
        out_of_sight: Whether whoever started it is away.
        exit: How it then ended.
        log: What it wrote by then.
        memory: Bytes of host memory in use, by virtual seconds since the start.
        gpu: The same for the GPU.
    """

    healthy_after_s: float | None = 10.0
    sick_after_s: float | None = None
    dies_after_s: float | None = None
    exit: ExitEvidence = field(default_factory=lambda: ExitEvidence(exit_code=1))
    out_of_sight: bool = False
    log: str = ""
    memory: Callable[[float], float | None] = lambda _seconds: None
    gpu: Callable[[float], float | None] = lambda _seconds: None


class FakeDeployment:
    """A server that follows its script."""

    def __init__(self, script: Script, clock: Clock, log_path: Path) -> None:
        self.base_url = "http://fake"
        self.log_path = log_path
        self.started_ns = clock.now_ns()
        self._script = script
        self._clock = clock
        self._stopped = False
        log_path.write_text(script.log)

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return (self._clock.now_ns() - self.started_ns) / 1e9

    @property
    def is_dead(self) -> bool:
        """Whether its script has ended it."""
        return self._script.dies_after_s is not None and self.age_s >= self._script.dies_after_s

    @property
    def is_healthy(self) -> bool:
        """Whether /health answers 200."""
        after = self._script.healthy_after_s
        sick = self._script.sick_after_s
        if after is None or (sick is not None and self.age_s >= sick):
            return False
        return self.age_s >= after and not self.is_dead

    def pids(self) -> tuple[int, ...]:
        """None: there is no process."""
        return ()

    def cgroup(self) -> Path | None:
        """None of its own."""
        return None

    def exit_evidence(self) -> ExitEvidence | None:
        """By the script."""
        return self._script.exit if self.is_dead else None

    @property
    def is_out_of_sight(self) -> bool:
        """As scripted."""
        return self._script.out_of_sight

    async def wait_exit(self) -> ExitEvidence:
        """Return at the scripted time, never without one."""
        if self._script.dies_after_s is None:
            await asyncio.Event().wait()
        await self._clock.sleep(max(0.0, (self._script.dies_after_s or 0.0) - self.age_s))
        return self._script.exit

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """It goes at once."""
        self._stopped = True
        return ExitEvidence(stopped_by_us=True, detail=f"grace {grace_s}")

    async def read_memory(self) -> Mapping[str, float | None]:
        """As scripted."""
        return {
            "gpu_memory_used_bytes": self._script.gpu(self.age_s),
            "host_memory_used_bytes": self._script.memory(self.age_s),
            "host_memory_total_bytes": 94.0 * 1024**3,
        }


@dataclass
class MemorySource:
    """Telemetry that follows the script."""

    deployment: FakeDeployment
    keys: tuple[str, ...] = (
        "gpu_memory_used_bytes",
        "host_memory_used_bytes",
        "host_memory_total_bytes",
    )

    async def read(self) -> Mapping[str, float | None]:
        """One look."""
        return await self.deployment.read_memory()


class FakeDeployer:
    """Starts fake servers and counts what is still running."""

    name = "fake"

    def __init__(self, script: Script, clock: Clock, error: Exception | None = None) -> None:
        self.script = script
        self.clock = clock
        self.error = error
        self.running = 0
        self.started = 0
        self.stop_takes_s = 0.0
        self.swept: tuple[str, ...] = ()
        self.last: FakeDeployment | None = None

    async def preflight(self, plan: LaunchPlan) -> None:
        """Nothing is in the way."""

    @asynccontextmanager
    async def deploy(
        self, plan: LaunchPlan, *, identity: Identity, log_path: Path
    ) -> AsyncIterator[FakeDeployment]:
        """As the seam says."""
        if self.error is not None:
            raise self.error
        self.running += 1
        self.started += 1
        self.last = FakeDeployment(self.script, self.clock, log_path)
        try:
            yield self.last
        finally:
            self.running -= 1
            if self.stop_takes_s:
                await self.clock.sleep(self.stop_takes_s)

    async def sweep(self, study: str) -> tuple[str, ...]:
        """What a dead run left; nothing unless a test says so."""
        return self.swept


@dataclass
class FakeClient:
    """Answers /health as the deployment's script says."""

    deployer: FakeDeployer

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Only the warm-up asks this one."""
        assert request.request_id.startswith("warm-up"), request
        now_ns = self.deployer.clock.now_ns()
        return RequestRecord(request_id=request.request_id, scheduled_ns=now_ns, sent_ns=now_ns,
                             end_ns=now_ns)  # fmt: skip

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """200 while healthy, nobody otherwise."""
        server = self.deployer.last
        if server is None or not server.is_healthy:
            return None
        return HttpAnswer(status=200, text="")

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """Nobody answers."""
        return None


class NoLoad:
    """A load generator that no test here uses."""

    async def run(self, plan: LoadPlan) -> LoadResult:
        """Not asked for."""
        raise AssertionError(plan)


class FakeConnector:
    """Connects to the deployer's last server."""

    def __init__(self, deployer: FakeDeployer) -> None:
        self._deployer = deployer

    @asynccontextmanager
    async def __call__(self, *, base_url: str, model: str) -> AsyncIterator[Connection]:
        """As the seam says."""
        yield Connection(client=FakeClient(self._deployer), load=NoLoad())


class FakeEngine:
    """An engine whose texts say nothing and that applies everything, unless told otherwise."""

    name = "fake"

    def __init__(
        self,
        applied: Applied | None = None,
        told: Failure | None = None,
        headroom: Failure | None = None,
    ) -> None:
        self.applied = applied or Applied()
        self.told = told
        self.headroom = headroom
        self.learnt: list[TrialRecord] = []
        self.detected: list[EngineTarget] = []

    async def detect(self, target: EngineTarget) -> Capabilities:
        """A release that does not exist."""
        self.detected.append(target)
        return CAPABILITIES

    def resolve_space(
        self,
        space: SearchSpace,
        capabilities: Capabilities,
        hardware: Hardware,
        model: ModelFacts,
    ) -> ResolvedSpace:
        """Nothing is lacking."""
        return ResolvedSpace(space=space)

    def settle(
        self, configuration: Configuration, capabilities: Capabilities, hardware: Hardware
    ) -> Settled:
        """Everything can be set."""
        return Settled(configuration=configuration)

    def launch_plan(self, configuration: Configuration, context: LaunchContext) -> LaunchPlan:
        """A command that is never run."""
        return LaunchPlan(argv=("fake", str(configuration)), port=context.port,
                          startup_timeout_s=context.startup_timeout_s)  # fmt: skip

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Everything fits; the GPU's headroom is kept unless told otherwise."""
        return Screening(predicted={"kv_cache_tokens": 1000.0}, headroom=self.headroom)

    def learn(self, record: TrialRecord) -> None:
        """Keep it for the test."""
        self.learnt.append(record)

    async def read_back(
        self, configuration: Configuration, capabilities: Capabilities, client: object, log: str
    ) -> Applied:
        """As told."""
        return self.applied

    def milestones(self, log: str) -> Mapping[str, int]:
        """None."""
        return {}

    def ledger(self, log: str) -> MemoryLedger:
        """Nothing is said."""
        return MemoryLedger()

    def explain(self, evidence: Evidence) -> Failure | None:
        """As told."""
        return self.told

    def gauges(self, metrics_text: str) -> Mapping[str, float | None]:
        """None."""
        return {}


@dataclass
class FakeProbe:
    """Takes some virtual time and answers as told."""

    name: str
    takes_s: float = 1.0
    result: dict[str, float | None] = field(default_factory=dict)
    failure: Failure | None = None
    test: int | None = None
    metrics: tuple[str, ...] = ()
    asked: int = 0

    async def run(self, context: ProbeContext) -> ProbeResult:
        """As told."""
        self.asked += 1
        await context.clock.sleep(self.takes_s)
        status = ProbeStatus.MEASURED if self.failure is None else ProbeStatus.FAILED
        return ProbeResult(probe=self.name, status=status, metrics=self.result,
                           failure=self.failure)  # fmt: skip


CAPABILITIES = Capabilities(engine="fake", release="1.0", platform="cuda")
