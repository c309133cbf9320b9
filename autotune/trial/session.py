"""A trial's time with its server: start, check, probe, raced against all that may end it."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from autotune.deployers.readiness import Died, Ready, wait_ready
from autotune.records import (
    Applied,
    Failure,
    FailureKind,
    ProbeResult,
    ProbeStatus,
    TrialKind,
)
from autotune.seams.deployment import Deployment, ExitEvidence, LaunchPlan
from autotune.seams.engine import Evidence
from autotune.seams.events import TelemetrySeen
from autotune.seams.probe import Probe, ProbeContext, Readiness
from autotune.seams.requests import Client, Connection
from autotune.seams.telemetry import Sample
from autotune.spec.study import StudySpec
from autotune.telemetry.engine_metrics import EngineMetricsSource
from autotune.telemetry.sampler import Sampler
from autotune.trial.attempt import Attempt, shifted
from autotune.trial.evidence import read_log
from autotune.trial.failure import classify
from autotune.trial.limits import check_limits, memory_bounds, memory_breach, missed
from autotune.trial.random_weights import weights_are_random
from autotune.trial.standstill import PauseWatch
from autotune.trial.tools import TrialTools
from autotune.trial.warm_up import warm_up

DYING_GRACE_S: Final = 6.0
"""vLLM's API server outlives its dead engine by up to 5 s (watchdog in entrypoints/launcher.py)."""

SHORT_TOKENS: Final = 512
"""A length that every server takes, for requests before its own limit is known."""

_COMPARED: Final = frozenset({TrialKind.BASELINE, TrialKind.MATRIX, TrialKind.VERIFY})
"""Measured whole even where a limit is missed: others are compared with them."""

_MAY_BE_DEATH: Final = frozenset(
    {FailureKind.REQUESTS_FAILED, FailureKind.DIED_UNDER_LOAD, FailureKind.HUNG}
)


class Session:
    """One server's working life; tells the attempt what it finds."""

    def __init__(  # noqa: PLR0917 - built in one place, in the order of the trial
        self,
        attempt: Attempt,
        spec: StudySpec,
        tools: TrialTools,
        plan: LaunchPlan,
        deployment: Deployment,
        before: Sample | None,
    ) -> None:
        self._attempt = attempt
        self._spec = spec
        self._tools = tools
        self._plan = plan
        self._deployment = deployment
        self._breach: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        self._ends_early = attempt.request.kind not in _COMPARED
        hardware = tools.context.hardware
        self._bounds = memory_bounds(
            spec.headroom, hardware, before=before, with_gpu=self._ends_early
        )
        self._whole_bounds = memory_bounds(spec.headroom, hardware, before=before, with_gpu=True)
        self._over_memory: Failure | None = None

    async def run(self, telemetry: Path) -> None:
        """Connect, watch, race; returns when the server is no longer needed."""
        tools = self._tools
        model = tools.context.served_name or tools.context.model.name
        async with tools.connect(base_url=self._deployment.base_url, model=model) as connection:
            sources = (
                *tools.sources(self._deployment, connection.client),
                EngineMetricsSource(connection.client, tools.engine.gauges),
            )
            sampler = Sampler(
                sources,
                tools.clock,
                self._spec.workload.telemetry_interval_s,
                on_sample=self._on_sample,
                sink_path=telemetry,
            )
            pauses = PauseWatch(tools.clock, self._spec.workload.telemetry_interval_s)
            async with sampler:
                await self._race(self._work(connection, sampler), connection.client, sampler)
            pauses.overrule(self._attempt, sampler.timeline)

    def _on_sample(self, sample: Sample) -> None:
        phase = self._attempt.phase_name
        failure = memory_breach(sample, self._bounds, phase=phase)
        if failure is not None and not self._breach.done():
            self._breach.set_result(failure)
        if self._over_memory is None:
            self._over_memory = memory_breach(sample, self._whole_bounds, phase=phase)
        number = self._attempt.request.number
        self._tools.observer(TelemetrySeen(number=number, values=sample.values))

    async def _race(
        self, work: Awaitable[Failure | None], client: Client, sampler: Sampler
    ) -> None:
        """Let the work run until it is done or something ends it.

        Nothing goes on unwatched: a sampling that broke off raises why when it is left.
        """
        timeout_s = self._spec.budget.trial_timeout_s
        working = asyncio.ensure_future(work)
        exited = asyncio.ensure_future(self._deployment.wait_exit())
        unwatched = asyncio.ensure_future(sampler.ended())
        try:
            raced: set[asyncio.Future[Any]] = {working, exited, unwatched, self._breach}
            await asyncio.wait(
                raced,
                return_when=asyncio.FIRST_COMPLETED,
                timeout=timeout_s,
            )
            failure: Failure | None
            if self._breach.done():
                failure = self._breach.result()
            elif working.done():
                failure = await self._root_cause(working.result(), client, exited)
            elif exited.done():
                failure = self._named(exited.result(), None)
            elif unwatched.done():
                failure = None
            else:
                failure = Failure(
                    kind=FailureKind.HUNG,
                    phase=self._attempt.phase_name,
                    message=f"the trial's {timeout_s:g} s were over",
                )
            if failure is not None:
                self._attempt.fail(failure)
        finally:
            for task in (working, exited, unwatched):
                task.cancel()
            await asyncio.gather(working, exited, unwatched, return_exceptions=True)

    async def _root_cause(
        self,
        seen: Failure | None,
        client: Client,
        exited: "asyncio.Future[ExitEvidence]",
    ) -> Failure | None:
        """What lies behind a failure that a probe has seen: failed requests may be a death."""
        if seen is None or seen.kind not in _MAY_BE_DEATH:
            return seen
        answer = await client.get(self._plan.health_path, timeout_s=5.0)
        if answer is None or answer.status != 200:
            await asyncio.wait({exited}, timeout=DYING_GRACE_S)
            if not exited.done() and self._deployment.is_out_of_sight:
                message = f"out of reach, and whoever started it is away: {seen.message}"
                kind = FailureKind.DEPLOYER_FAULT
                return replace(seen, kind=kind, message=message)
        return self._named(exited.result() if exited.done() else None, seen)

    def _named(self, ended: ExitEvidence | None, seen: Failure | None) -> Failure:
        """Name a death; what a probe has seen stands where the engine's texts say nothing."""
        evidence = Evidence(
            phase=self._attempt.phase_name,
            healthy_once=self._attempt.healthy_once,
            exit=ended,
            log=read_log(self._deployment.log_path),
            detail="" if seen is None else seen.message,
            predicted=self._attempt.predicted,
        )
        if seen is not None and ended is None:
            return self._tools.engine.explain(evidence) or seen
        return classify(evidence, self._tools.engine)

    async def _work(self, connection: Connection, sampler: Sampler) -> Failure | None:
        """Start-up, check, probes: the part that is raced."""
        with self._attempt.phase("starting"):
            ready = await self._ready(connection.client)
        if isinstance(ready, Failure):
            return ready
        self._attempt.healthy_once = True
        with self._attempt.phase("warming_up"):
            log = read_log(self._deployment.log_path)
            reading = self._tools.engine.read_back(
                self._attempt.request.configuration,
                self._tools.context.capabilities,
                connection.client,
                log,
            )
            applied = await warm_up(connection.client, reading, longest_tokens=SHORT_TOKENS)
            self._attempt.applied = applied
            readiness = Readiness(
                started_ns=self._deployment.started_ns,
                healthy_ns=ready.healthy_ns,
                milestones=self._tools.engine.milestones(log),
            )
        if applied.mismatches:
            return _not_applied(applied)
        return await self._probe_all(connection, sampler, readiness, applied)

    async def _ready(self, client: Client) -> Ready | Failure:
        async def is_healthy() -> bool:
            answer = await client.get(self._plan.health_path, timeout_s=5.0)
            return answer is not None and answer.status == 200

        timeout_s = self._plan.startup_timeout_s
        result = await wait_ready(
            self._deployment, is_healthy, clock=self._tools.clock, timeout_s=timeout_s
        )
        match result:
            case Ready():
                return result
            case Died():
                return self._named(result.exit, None)
            case _:
                evidence = Evidence(
                    phase="starting",
                    log=read_log(self._deployment.log_path),
                    detail=f"not healthy after {timeout_s:g} s",
                )
                return classify(evidence, self._tools.engine)

    async def _probe_all(
        self,
        connection: Connection,
        sampler: Sampler,
        readiness: Readiness,
        applied: Applied,
    ) -> Failure | None:
        """Ask every probe of the study in running order; the first failure ends it."""
        attempt = self._attempt
        wanted = self._spec.probes if attempt.request.probes is None else attempt.request.probes
        for name, probe in self._tools.probes.items():
            if name not in wanted:
                continue
            context = self._context(connection, sampler, readiness, applied)
            with attempt.phase(f"probe:{name}"):
                result = await self._ask(probe, context)
            attempt.probes.append(result)
            attempt.limits = check_limits(self._spec.limits, attempt.metrics)
            failure = _probe_failure(result)
            if failure is None and self._ends_early:
                failure = missed(attempt.limits, phase=f"probe:{name}", final=False)
            if failure is not None:
                return failure
            if attempt.is_hopeless(name):
                return None
        if attempt.request.kind in {TrialKind.MATRIX, TrialKind.VERIFY}:
            return None  # there a limit is the table's verdict, not the cell's end
        return missed(attempt.limits, phase="limits", final=True) or self._over_memory

    def _context(
        self,
        connection: Connection,
        sampler: Sampler,
        readiness: Readiness,
        applied: Applied,
    ) -> ProbeContext:
        request = self._attempt.request
        baseline: Mapping[str, object] | None = request.baseline
        offload = request.configuration.get("kv_offload_gib")
        return ProbeContext(
            client=connection.client,
            load=connection.load,
            clock=self._tools.clock,
            workload=self._spec.workload,
            configuration=request.configuration,
            applied=applied,
            readiness=readiness,
            timeline=sampler.timeline,
            gauges=self._tools.engine.gauges,
            baseline=baseline,
            weights_are_random=weights_are_random(self._tools.context.fixed_arguments),
            simulated=self._tools.simulated,
            seed=self._spec.seed,
            offload_gib=float(offload) if isinstance(offload, int | float) else 0.0,
            finished=tuple(self._attempt.probes),
        )

    async def _ask(self, probe: Probe, context: ProbeContext) -> ProbeResult:
        """Run one probe within its time."""
        clock, timeout_s = self._tools.clock, self._spec.workload.probe_timeout_s
        start_ns = clock.now_ns()
        try:
            async with asyncio.timeout(timeout_s):
                result = await probe.run(context)
        except TimeoutError:
            message = f"the probe {probe.name} was not done after {timeout_s:g} s"
            phase = f"probe:{probe.name}"
            result = ProbeResult(
                probe=probe.name,
                status=ProbeStatus.FAILED,
                reason=message,
                failure=Failure(kind=FailureKind.HUNG, phase=phase, message=message),
            )
        return shifted(result, start_ns=start_ns, end_ns=clock.now_ns())


def _probe_failure(result: ProbeResult) -> Failure | None:
    if result.failure is not None or result.status is not ProbeStatus.FAILED:
        return result.failure
    return Failure(
        kind=FailureKind.REQUESTS_FAILED,
        phase=f"probe:{result.probe}",
        message=result.reason or f"the probe {result.probe} failed",
    )


def _not_applied(applied: Applied) -> Failure:
    first = applied.mismatches[0]
    return Failure(
        kind=FailureKind.NOT_APPLIED,
        phase="warming_up",
        message=f"asked for {first.parameter}={first.asked}, the server runs with {first.got}",
        evidence=tuple(
            f"{m.parameter}: asked {m.asked}, got {m.got} ({m.source})" for m in applied.mismatches
        ),
    )
