"""Trial to probe: one question asked of a deployment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autotune.clock import Clock
from autotune.records import Applied, Configuration, ProbeResult
from autotune.seams.requests import Client, LoadGenerator
from autotune.seams.telemetry import Sample
from autotune.spec.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """How the start went, for the probe `startup`."""

    started_ns: int
    healthy_ns: int
    milestones: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProbeContext:
    """All that a probe may use.

    Attributes:
        client: Single requests and plain paths.
        load: Many requests.
        clock: The study's.
        workload: Sizes and counts of every probe.
        configuration: What was asked for.
        applied: What the server says it runs with.
        readiness: How the start went.
        timeline: Telemetry of this trial so far, oldest first.
        gauges: Reads the engine's /metrics into engine-neutral names; None where it has none.
        baseline: Reference answers of the study's baseline, by probe: None while it is measured.
        weights_are_random: Text has no meaning (`--load-format dummy`): text checks step aside.
        simulated: No real engine is asked.
        seed: Of the study; probes derive their prompts from it.
        offload_gib: Size of the KV offload that was asked for, 0 for none.
        finished: Results of the probes before this one.
    """

    client: Client
    load: LoadGenerator
    clock: Clock
    workload: Workload
    configuration: Configuration
    applied: Applied
    readiness: Readiness
    timeline: Sequence[Sample]
    gauges: Callable[[str], Mapping[str, float | None]] | None = None
    baseline: Mapping[str, object] | None = None
    weights_are_random: bool = False
    simulated: bool = False
    seed: int = 0
    offload_gib: float = 0.0
    finished: Sequence[ProbeResult] = ()


class Probe(Protocol):
    """One question.

    A probe raises nothing but cancellation: whatever the server does ends in a `ProbeResult`.
    """

    @property
    def name(self) -> str:
        """Its name in studies and records."""
        ...

    @property
    def test(self) -> int | None:
        """Number of the test in the fixed matrix; None for the further ones."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Tags that it gives."""
        ...

    async def run(self, context: ProbeContext) -> ProbeResult:
        """Ask."""
        ...
