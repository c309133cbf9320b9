"""The engine and the connection of a deployment that came from files."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    MemoryLedger,
    TrialRecord,
)
from autotune.seams.deployment import LaunchPlan
from autotune.seams.engine import (
    Capabilities,
    Engine,
    EngineTarget,
    Evidence,
    LaunchContext,
    ModelFacts,
    ResolvedSpace,
    Screening,
    Settled,
)
from autotune.seams.requests import (
    Client,
    Connection,
    Connector,
    GenerationRequest,
    HttpAnswer,
    LoadPlan,
    LoadResult,
    RequestRecord,
)
from autotune.seams.telemetry import Hardware
from autotune.spec.space import SearchSpace

PlanAt = Callable[[int], LaunchPlan]
"""Port to the start of exported files on it."""


class ExportedEngine:
    """The study's engine, started by exported files; whatever else is asked of it, it answers.

    So the configuration of the trial is read back from a server that the files started.

    Args:
        engine: The study's.
        plan_at: Writes the start.
    """

    def __init__(self, engine: Engine, plan_at: PlanAt) -> None:
        self._engine, self._plan_at = engine, plan_at

    @property
    def name(self) -> str:
        """The engine's own."""
        return self._engine.name

    async def detect(self, target: EngineTarget) -> Capabilities:
        """See `Engine.detect`."""
        return await self._engine.detect(target)

    def resolve_space(
        self,
        space: SearchSpace,
        capabilities: Capabilities,
        hardware: Hardware,
        model: ModelFacts,
    ) -> ResolvedSpace:
        """See `Engine.resolve_space`."""
        return self._engine.resolve_space(space, capabilities, hardware, model)

    def settle(
        self, configuration: Configuration, capabilities: Capabilities, hardware: Hardware
    ) -> Settled:
        """See `Engine.settle`."""
        return self._engine.settle(configuration, capabilities, hardware)

    def launch_plan(self, configuration: Configuration, context: LaunchContext) -> LaunchPlan:
        """The files' own start; the configuration is what they were written for."""
        del configuration
        plan = self._plan_at(context.port)
        return replace(plan, startup_timeout_s=context.startup_timeout_s)

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """See `Engine.screen`."""
        return self._engine.screen(configuration, context)

    def learn(self, record: TrialRecord) -> None:
        """See `Engine.learn`."""
        self._engine.learn(record)

    async def read_back(
        self, configuration: Configuration, capabilities: Capabilities, client: Client, log: str
    ) -> Applied:
        """See `Engine.read_back`."""
        return await self._engine.read_back(configuration, capabilities, client, log)

    def milestones(self, log: str) -> Mapping[str, int]:
        """See `Engine.milestones`."""
        return self._engine.milestones(log)

    def ledger(self, log: str) -> MemoryLedger:
        """See `Engine.ledger`."""
        return self._engine.ledger(log)

    def explain(self, evidence: Evidence) -> Failure | None:
        """See `Engine.explain`."""
        return self._engine.explain(evidence)

    def gauges(self, metrics_text: str) -> Mapping[str, float | None]:
        """See `Engine.gauges`."""
        return self._engine.gauges(metrics_text)


def asking(connect: Connector) -> Connector:
    """A connector that asks the server under which name it serves, at the first request for text.

    Exported files may serve under another name than the trials did, and a connection is opened
    before the server can be asked.
    """

    @asynccontextmanager
    async def opened(base_url: str, model: str) -> AsyncIterator[Connection]:
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(connect(base_url=base_url, model=model))
            named = _Named(connect, base_url, model, plain, stack)
            yield Connection(client=_AskingClient(named), load=_AskingLoad(named))

    def asked(*, base_url: str, model: str) -> AbstractAsyncContextManager[Connection]:
        return opened(base_url, model)

    return asked


async def served_name(client: Client, wanted: str) -> str:
    """The name to ask for: the wanted one if it is served, or nobody says, else the first."""
    answer = await client.get("/v1/models")
    try:
        listed = orjson.loads("" if answer is None else answer.text)["data"]
        names = [str(model["id"]) for model in listed]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return wanted
    return wanted if wanted in names or not names else names[0]


class _Named:
    """A connection whose model's name is found when it is first needed."""

    def __init__(
        self,
        connect: Connector,
        base_url: str,
        model: str,
        plain: Connection,
        stack: AsyncExitStack,
    ) -> None:
        self._connect, self._base_url, self._model = connect, base_url, model
        self.plain, self._stack = plain, stack
        self._asking = asyncio.Lock()
        self._found: Connection | None = None

    async def connection(self) -> Connection:
        async with self._asking:
            if self._found is None:
                name = await served_name(self.plain.client, self._model)
                self._found = self.plain if name == self._model else await self._open(name)
            return self._found

    async def _open(self, name: str) -> Connection:
        return await self._stack.enter_async_context(
            self._connect(base_url=self._base_url, model=name)
        )


class _AskingClient:
    def __init__(self, named: _Named) -> None:
        self._named = named

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        connection = await self._named.connection()
        return await connection.client.generate(request, scheduled_ns=scheduled_ns)

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        return await self._named.plain.client.get(path, timeout_s=timeout_s)

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        return await self._named.plain.client.post(path, body, timeout_s=timeout_s)


class _AskingLoad:
    def __init__(self, named: _Named) -> None:
        self._named = named

    async def run(self, plan: LoadPlan) -> LoadResult:
        connection = await self._named.connection()
        return await connection.load.run(plan)
