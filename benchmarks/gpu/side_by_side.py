"""Measure many configurations in little GPU time: start servers together, measure one at a time.

    python benchmarks/gpu/side_by_side.py STUDY.yaml GROUPS.yaml [--model FOLDER] [--seconds 540]

A start takes minutes and a measurement half a minute, so on a rented GPU the starts are the cost.
Servers with a fixed KV cache (`kv_cache_memory_gib`) skip memory profiling and fit side by side.
While one is measured the others are idle; they hold memory and do no work. Every record says so
in its notes, and its start-up time and memory peaks are not those of a server alone.

GROUPS.yaml: a list of groups; each group maps names to configurations, started together.
Cells whose record exists are skipped, so the same command goes on in another session.
"""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune.cli.options import load_study
from autotune.cli.plain import PlainLines
from autotune.cli.running import announce, open_study
from autotune.cli.wiring import Workbench
from autotune.deployers.marks import owner
from autotune.deployers.readiness import Ready, wait_ready
from autotune.records import Configuration, OutcomeStatus, TrialKind
from autotune.seams.deployment import Deployment, Identity, LaunchPlan
from autotune.seams.events import Notice
from autotune.seams.trial import TrialRequest
from autotune.spec.files import read_yaml
from autotune.store import StudyLock, TrialStore, write_study
from autotune.trial.attempt import Attempt
from autotune.trial.session import Session
from autotune.units import s_from_ns

NOTE = "started side by side with other servers; measured while they were idle"


class Gatherer:
    """Runs groups until the time is over."""

    def __init__(self, workbench: Workbench, view: PlainLines, seconds: float) -> None:
        self.workbench, self.view = workbench, view
        self.tools = workbench.tools(view)
        self.store = TrialStore(workbench.paths, workbench.spec.name)
        self.clock = workbench.backend.clock
        self.end_ns = self.clock.now_ns() + int(seconds * 1e9)
        self.done = {
            r.label for r in self.store.records() if r.outcome.status is not OutcomeStatus.FAILED
        }

    def left_s(self) -> float:
        """Seconds until nothing further is begun."""
        return s_from_ns(self.end_ns - self.clock.now_ns())

    async def group(self, cells: dict[str, dict[str, Any]]) -> None:
        """Start a group together and measure its servers one by one."""
        wanted = {name: values for name, values in cells.items() if name not in self.done}
        if not wanted or self.left_s() < 60:
            return
        async with AsyncExitStack() as stack:
            started = []
            for name, values in wanted.items():
                started.append(await self._start(stack, name, Configuration.of(values)))
            await asyncio.gather(*(self._settled(d, plan) for _, plan, d in started))
            for attempt, plan, deployment in started:
                if self.left_s() < 20:
                    self.view(Notice(text=f"no time left for {attempt.request.label}"))
                    continue
                await self._measure(attempt, plan, deployment)

    async def _start(
        self, stack: AsyncExitStack, name: str, configuration: Configuration
    ) -> tuple[Attempt, LaunchPlan, Deployment]:
        workbench, backend = self.workbench, self.workbench.backend
        number = self.store.next_number()
        files = workbench.paths.trial(number)
        files.root.mkdir(parents=True)
        context = replace(workbench.context, port=backend.free_port(workbench.spec.bind_host))
        plan = backend.engine.launch_plan(configuration, context)
        request = TrialRequest(number=number, kind=TrialKind.MATRIX, label=name,
                               configuration=configuration)  # fmt: skip
        attempt = Attempt(request=request, tools=self.tools, study=workbench.spec.name,
                          wall_start=self.clock.wall().isoformat())  # fmt: skip
        attempt.command = plan.argv
        attempt.notes.append(NOTE)
        pid, start = owner()
        identity = Identity(study=workbench.spec.name, trial=number, owner_pid=pid,
                            owner_start=start)  # fmt: skip
        deploying = backend.deployer.deploy(plan, identity=identity, log_path=files.log)
        return attempt, plan, await stack.enter_async_context(deploying)

    async def _settled(self, deployment: Deployment, plan: LaunchPlan) -> bool:
        """Wait until a server is healthy or gone."""
        async with self.tools.connect(
            base_url=deployment.base_url, model=self.workbench.context.model.name
        ) as connection:

            async def is_healthy() -> bool:
                answer = await connection.client.get(plan.health_path, timeout_s=5.0)
                return answer is not None and answer.status == 200

            result = await wait_ready(deployment, is_healthy, clock=self.clock,
                                      timeout_s=max(1.0, self.left_s()))  # fmt: skip
        return isinstance(result, Ready)

    async def _measure(self, attempt: Attempt, plan: LaunchPlan, deployment: Deployment) -> None:
        files = self.workbench.paths.trial(attempt.request.number)
        session = Session(attempt, self.workbench.spec, self.tools, plan, deployment, None)
        await session.run(files.telemetry)
        attempt.ledger = self.tools.engine.ledger(files.log.read_text(errors="replace"))
        record = attempt.record()
        self.store.append(record)
        outcome = record.outcome.failure
        shown = record.metrics.get("output_tokens_per_s")
        self.view(Notice(text=f"{attempt.request.label}: {record.outcome.status.value} "
                              f"{'' if outcome is None else outcome.message} {shown}"))  # fmt: skip


def main() -> None:
    """Gather what the time allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("groups", type=Path)
    parser.add_argument("--model", help="instead of the study's")
    parser.add_argument("--seconds", type=float, default=540.0)
    chosen = parser.parse_args()
    workbench = open_study(load_study(chosen.study, {"model": chosen.model})).workbench
    view = PlainLines(sys.stdout, clock=workbench.backend.clock)
    with StudyLock(workbench.paths.lock):
        write_study(workbench.paths, workbench.spec, workbench.space.space)
        announce(workbench, view)
        gatherer = Gatherer(workbench, view, chosen.seconds)

        async def whole() -> None:
            for cells in read_yaml(chosen.groups):
                await gatherer.group(cells)

        workbench.backend.clock.run(whole())


if __name__ == "__main__":
    main()
