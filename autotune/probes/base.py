"""What every probe does alike: time limit, failures as data, all its metrics in the result."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

from autotune.probes.asking import (
    Asker,
    ProbeSkippedError,
    ProbeStoppedError,
    failures_by_kind,
)
from autotune.probes.disturbance import disturbance
from autotune.records import Failure, FailureKind, ProbeResult, ProbeStatus
from autotune.seams.probe import ProbeContext
from autotune.units import s_from_ns

_SHARE_FOR_FIRST: Final = 0.4  # of the probe's time: a repetition must fit in as well


@dataclass(kw_only=True)
class Findings:
    """What a probe found out; what it did not is absent."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    samples: dict[str, tuple[float, ...]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reference: dict[str, object] = field(default_factory=dict)
    failure: Failure | None = None
    disturbed: str = ""


class BaseProbe(ABC):
    """A probe: `ask` holds the question, `run` keeps the seam's promises."""

    name: str
    test: int | None
    metrics: tuple[str, ...]
    is_timed: bool = True
    """Whether its figures are times: then it is repeated where something disturbed the card."""

    @abstractmethod
    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """Ask the question.

        Raises:
            ProbeSkippedError: If it cannot be asked here.
            ProbeStoppedError: If the answers are bad.
        """

    async def run(self, context: ProbeContext) -> ProbeResult:
        """Ask; whatever the server does ends in a result.

        Raises:
            SpecError: If the workload names a file that cannot be read.
        """
        askers = [Asker(context, self.name)]
        start_ns = context.clock.now_ns()
        status, reason, findings = ProbeStatus.MEASURED, "", Findings()
        try:
            async with asyncio.timeout(context.workload.probe_timeout_s):
                findings = await self._undisturbed(context, askers)
        except ProbeSkippedError as skipped:
            status, reason = ProbeStatus.SKIPPED, str(skipped)
        except ProbeStoppedError as stopped:
            findings = Findings(failure=stopped.failure)
        except TimeoutError:
            findings = Findings(failure=_out_of_time(askers[-1], context))
        if findings.failure is not None:
            status, reason = ProbeStatus.FAILED, findings.failure.message
        records = [record for asker in askers for record in asker.records]
        failed = failures_by_kind(records)
        return ProbeResult(
            probe=self.name,
            status=status,
            reason=reason,
            metrics=self._all_metrics(findings, sum(failed.values())),
            samples=findings.samples,
            intervals=findings.intervals,
            requests_sent=len(records),
            requests_failed=failed,
            failure=findings.failure,
            notes=tuple(findings.notes),
            reference=findings.reference,
            start_ns=start_ns,
            end_ns=context.clock.now_ns(),
            disturbed=findings.disturbed,
        )

    async def _undisturbed(self, context: ProbeContext, askers: list[Asker]) -> Findings:
        """Ask; if something disturbed the card, once more with other prompts, and say so."""
        start_ns = context.clock.now_ns()
        findings = await self.ask(context, askers[0])
        again_ns = context.clock.now_ns()
        reason = disturbance(context.timeline, start_ns, again_ns) if self.is_timed else None
        if reason is None or findings.failure is not None:
            return findings
        if s_from_ns(again_ns - start_ns) > context.workload.probe_timeout_s * _SHARE_FOR_FIRST:
            findings.notes.append(f"disturbed, and too long to be repeated: {reason}")
            findings.disturbed = reason
            return findings
        askers.append(Asker(context, self.name, repetition=1))
        repeated = await self.ask(context, askers[1])
        still = disturbance(context.timeline, again_ns, context.clock.now_ns())
        repeated.disturbed = still or ""
        repeated.notes.append(
            f"repeated, for it was disturbed: {reason}"
            if still is None
            else f"disturbed, and again when it was repeated: {still}"
        )
        return repeated

    def _all_metrics(self, findings: Findings, failed_count: int) -> dict[str, float | None]:
        """Every tag of the probe, None where not measured; failures are counted in any case."""
        values = {tag: findings.metrics.get(tag) for tag in self.metrics}
        if "failed_requests_count" in values and (findings.metrics or findings.failure):
            values["failed_requests_count"] = float(failed_count)
        return values


def _out_of_time(asker: Asker, context: ProbeContext) -> Failure:
    return Failure(
        kind=FailureKind.HUNG,
        phase=asker.phase,
        message=f"not done after {context.workload.probe_timeout_s:g} s",
    )
