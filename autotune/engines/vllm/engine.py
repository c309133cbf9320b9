"""The vLLM engine: everything that studies ask of it, each answered by a module of this folder."""

from collections.abc import Mapping

from autotune.engines.vllm import (
    applied,
    capabilities,
    failures,
    launch,
    legality,
    logs,
    server_metrics,
)
from autotune.engines.vllm import space as spaces
from autotune.engines.vllm.memory import MemoryModel
from autotune.records import Applied, Configuration, Failure, MemoryLedger, TrialRecord
from autotune.seams.deployment import LaunchPlan
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
from autotune.seams.requests import Client
from autotune.seams.telemetry import Hardware
from autotune.spec.space import SearchSpace


class VllmEngine:
    """`vllm serve`, 0.8.5 and later.

    One instance belongs to one study: its memory model learns from the study's trials.
    """

    name = capabilities.ENGINE_NAME

    def __init__(self) -> None:
        self._memory = MemoryModel()

    async def detect(self, target: EngineTarget) -> Capabilities:
        """Scan the installation or the image."""
        return await capabilities.detect(target)

    def resolve_space(
        self,
        space: SearchSpace,
        capabilities: Capabilities,
        hardware: Hardware,
        model: ModelFacts,
    ) -> ResolvedSpace:
        """Take out what this release on this machine lacks."""
        return spaces.resolve_space(space, capabilities, hardware, model)

    def settle(
        self, configuration: Configuration, capabilities: Capabilities, hardware: Hardware
    ) -> Settled:
        """Split a fixed configuration into what can be set, is default, is lacking."""
        return legality.settle(configuration, capabilities, hardware)

    def launch_plan(self, configuration: Configuration, context: LaunchContext) -> LaunchPlan:
        """Write the start."""
        return launch.launch_plan(configuration, context)

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Legality first, for it is certain; then the memory model."""
        illegal = legality.refusal(
            configuration,
            context.capabilities,
            context.hardware,
            context.model,
            context.target.env,
            arguments=context.fixed_arguments,
        )
        if illegal is not None:
            return Screening(failure=illegal)
        return self._memory.screen(configuration, context)

    def learn(self, record: TrialRecord) -> None:
        """Correct the memory model."""
        self._memory.learn(record)

    async def read_back(
        self, configuration: Configuration, capabilities: Capabilities, client: Client, log: str
    ) -> Applied:
        """What the running server says of itself."""
        return await applied.read_back(configuration, capabilities, client, log)

    def milestones(self, log: str) -> Mapping[str, int]:
        """Start-up split by the log."""
        return logs.milestones(log)

    def ledger(self, log: str) -> MemoryLedger:
        """The log's own account of memory."""
        return logs.ledger(log)

    def explain(self, evidence: Evidence) -> Failure | None:
        """The first root cause that the log names."""
        return failures.explain(evidence)

    def gauges(self, metrics_text: str) -> Mapping[str, float | None]:
        """Engine-neutral figures out of /metrics."""
        return server_metrics.gauges(metrics_text)
