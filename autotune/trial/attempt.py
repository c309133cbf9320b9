"""One trial while it runs: what it has found so far, and the record that comes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from autotune.records import (
    Applied,
    Failure,
    LimitCheck,
    MemoryLedger,
    PhaseSpan,
    ProbeResult,
    TrialRecord,
)
from autotune.seams.events import PhaseStarted
from autotune.seams.trial import TrialRequest
from autotune.trial.failure import outcome_of
from autotune.trial.tools import TrialTools


@dataclass
class Attempt:
    """Collects; decides nothing."""

    request: TrialRequest
    tools: TrialTools
    study: str
    wall_start: str
    phase_name: str = "preparing"
    broken_off: str | None = None
    healthy_once: bool = False
    is_decided: bool = False
    phases: list[PhaseSpan] = field(default_factory=list)
    probes: list[ProbeResult] = field(default_factory=list)
    limits: tuple[LimitCheck, ...] = ()
    applied: Applied | None = None
    ledger: MemoryLedger | None = None
    predicted: dict[str, float] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failure: Failure | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Name and time a stretch of the trial; it is recorded however it ends."""
        clock = self.tools.clock
        start_ns = clock.now_ns()
        self.phase_name = name
        self.tools.observer(PhaseStarted(number=self.request.number, phase=name, at_ns=start_ns))
        try:
            yield
        except BaseException:  # noted and raised on
            self.broken_off = self.broken_off or name
            raise
        finally:
            self.phases.append(PhaseSpan(name=name, start_ns=start_ns, end_ns=clock.now_ns()))

    @property
    def where(self) -> str:
        """The phase that was broken off, else the one that the trial is in."""
        return self.broken_off or self.phase_name

    @property
    def metrics(self) -> dict[str, float | None]:
        """All metrics so far in one mapping."""
        merged: dict[str, float | None] = {}
        for result in self.probes:
            merged.update(result.metrics)
        return merged

    def is_hopeless(self, probe: str) -> bool:
        """Whether what is measured after a probe makes the rest worthless; noted if so."""
        ask = self.request.hopeless
        reason = None if ask is None else ask(self.metrics)
        if reason is not None:
            self.notes.append(f"ended after the probe {probe}: {reason}")
        return reason is not None

    def fail(self, failure: Failure) -> None:
        """Keep the first failure: it is the root cause, whatever follows."""
        if self.failure is None:
            self.failure = failure

    def record(self) -> TrialRecord:
        """Everything that is known, as the one record of this trial."""
        request = self.request
        return TrialRecord(
            study=self.study,
            number=request.number,
            kind=request.kind,
            label=request.label,
            configuration=request.configuration,
            outcome=outcome_of(self.failure),
            metrics=self.metrics,
            probes=tuple(self.probes),
            limits=self.limits,
            applied=self.applied,
            ledger=self.ledger,
            predicted=self.predicted,
            simulated=self.tools.simulated,
            phases=tuple(self.phases),
            left_out=dict(request.left_out),
            command=self.command,
            wall_start=self.wall_start,
            environment={**self.tools.environment, **self.environment},
            notes=tuple(self.notes),
        )


def shifted(result: ProbeResult, *, start_ns: int, end_ns: int) -> ProbeResult:
    """A probe's result with its times, where the probe did not set them itself."""
    return result if result.end_ns else replace(result, start_ns=start_ns, end_ns=end_ns)
