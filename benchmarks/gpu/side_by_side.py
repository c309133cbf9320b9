"""Measure many configurations in little GPU time: start servers together, measure one at a time.

    python benchmarks/gpu/side_by_side.py STUDY.yaml GROUPS.yaml [--model FOLDER] [--seconds 540]
    python benchmarks/gpu/side_by_side.py A.yaml A-GROUPS.yaml B.yaml B-GROUPS.yaml  # two shapes

A start takes minutes and a measurement half a minute, so on a rented GPU the starts are the cost.
Servers with a fixed KV cache (`kv_cache_memory_gib`) skip memory profiling and fit side by side.
While one is measured the others are idle; they hold memory and do no work. Every record says so
in its notes, and its start-up time and memory peaks are not those of a server alone.

GROUPS.yaml: a list of groups; each group maps names to configurations, started together. With
several studies the first groups of all are started together, then the second ones.
Cells whose record exists are skipped, so the same command goes on in another session.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
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

Groups = list[dict[str, dict[str, Any]]]

NOTE = "started side by side with other servers; measured while they were idle"


@dataclass(frozen=True)
class Started:
    """A server and what is to be measured on it."""

    attempt: Attempt
    plan: LaunchPlan
    deployment: Deployment


class Gatherer:
    """Runs one study's groups until the time is over."""

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

    async def start(self, stack: AsyncExitStack, cells: dict[str, dict[str, Any]]) -> list[Started]:
        """Start a group; what has a record already is left out."""
        if self.left_s() < 60:
            return []
        return [
            await self._start(stack, name, Configuration.of(values))
            for name, values in cells.items()
            if name not in self.done
        ]

    async def measure(self, started: Started) -> None:
        """Measure one server, if there is time."""
        if self.left_s() < 20:
            self.view(Notice(text=f"no time left for {started.attempt.request.label}"))
            return
        await self._measure(started.attempt, started.plan, started.deployment)

    async def _start(
        self, stack: AsyncExitStack, name: str, configuration: Configuration
    ) -> Started:
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
        return Started(attempt, plan, await stack.enter_async_context(deploying))

    async def settled(self, started: Started) -> bool:
        """Wait until a server is healthy or gone."""
        deployment, plan = started.deployment, started.plan
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


async def gathered(
    gatherers: Sequence[Gatherer], groups: Sequence[Groups], after: Path | None
) -> None:
    """Start together what is to be started together, measure one by one."""
    for together in zip_longest(*groups, fillvalue={}):
        async with AsyncExitStack() as stack:
            started = [
                (gatherer, one)
                for gatherer, cells in zip(gatherers, together, strict=True)
                for one in await gatherer.start(stack, cells)
            ]
            await asyncio.gather(*(gatherer.settled(one) for gatherer, one in started))
            while after and not await asyncio.to_thread(after.exists) and gatherers[0].left_s() > 0:
                await gatherers[0].clock.sleep(0.5)
            for gatherer, one in started:
                await gatherer.measure(one)


def main() -> None:
    """Gather what the time allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="STUDY GROUPS")
    parser.add_argument("--model", help="instead of the study's, where there is one study")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--after", type=Path, help="measure once this file is there: others start")
    chosen = parser.parse_args()
    if len(chosen.files) % 2 or (chosen.model and len(chosen.files) > 2):
        parser.error("a study and its groups, and so on; --model for one study only")
    gatherers, groups = [], []
    with ExitStack() as locks:
        for study, file in zip(chosen.files[::2], chosen.files[1::2], strict=True):
            workbench = open_study(load_study(study, {"model": chosen.model})).workbench
            locks.enter_context(StudyLock(workbench.paths.lock))
            view = PlainLines(sys.stdout, clock=workbench.backend.clock)
            write_study(workbench.paths, workbench.spec, workbench.space.space)
            announce(workbench, view)
            gatherers.append(Gatherer(workbench, view, chosen.seconds))
            groups.append(read_yaml(Path(file)))
        gatherers[0].clock.run(gathered(gatherers, groups, chosen.after))


if __name__ == "__main__":
    main()
