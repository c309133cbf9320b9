"""What a Docker engine can do around a trial, done to an engine of this run's own."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from autotune.clock import MonotonicClock
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.trial import TrialRequest
from autotune.trial.lifecycle import Trials
from benchmarks.reliability import leftovers
from benchmarks.reliability.corpora import ROOT
from benchmarks.reliability.docker_refusals import REFUSALS, refused
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.scripted import DOES, failure_kind, runner_of, spec_of, tools_of

SCRIPT: Final = ROOT / ".ci/docker_engine.sh"
AWAY_S: Final = 4.0
UP_S: Final = 60.0


class OwnEngine:
    """A Docker engine beside any other, to be stopped, killed, frozen and hidden."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self) -> None:
        """Start it, or start it again, and mean it from now on.

        Raises:
            subprocess.CalledProcessError: This machine cannot have one.
        """
        said = subprocess.run(
            [str(SCRIPT), "start", str(self._folder)], check=True, capture_output=True, text=True
        )
        name, _, value = said.stdout.strip().splitlines()[-1].partition("=")
        os.environ[name] = value

    def end(self) -> None:
        """End it with all that is in it."""
        subprocess.run([str(SCRIPT), "stop", str(self._folder)], check=False, capture_output=True)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(int((self._folder / "pid").read_text()), number)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / "docker.sock"


async def stopped(engine: OwnEngine) -> None:
    """`systemctl stop docker`, and start."""
    engine.signal(signal.SIGTERM)
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(engine.start)


async def killed(engine: OwnEngine) -> None:
    """A crash, and a start by whoever watches over it."""
    engine.signal(signal.SIGKILL)
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(engine.start)


async def frozen(engine: OwnEngine) -> None:
    """It answers nobody for a while."""
    engine.signal(signal.SIGSTOP)
    await asyncio.sleep(AWAY_S)
    engine.signal(signal.SIGCONT)


async def hidden(engine: OwnEngine) -> None:
    """Its socket goes away and comes back."""
    aside = engine.socket.with_name("aside")
    engine.socket.rename(aside)
    await asyncio.sleep(AWAY_S)
    aside.rename(engine.socket)


FAULTS: Final[Mapping[str, tuple[Callable[[OwnEngine], Awaitable[None]], frozenset[str]]]] = {
    "stopped": (stopped, frozenset({"deployer_fault"})),
    "killed": (killed, frozenset({"deployer_fault", "measured"})),
    "frozen": (frozen, frozenset({"measured"})),
    "hidden": (hidden, frozenset({"measured"})),
}
"""What is done, and what the trial may be called: a container outlives a crash of its engine until
the engine is back, so a short trial may be measured first."""


def docker_faults(folder: Path) -> Figure:
    """Each fault in the middle of a trial or before one, and then a trial that must be measured.

    Args:
        folder: Scratch; the engine lives in it.
    """
    figure = Figure("docker-faults")
    engine = OwnEngine(folder / "docker")
    before = os.environ.get("DOCKER_HOST")
    try:
        engine.start()
        clock = MonotonicClock()
        for name, (fault, expected) in FAULTS.items():
            figure.tried["faults"] += 1
            broken = clock.run(_one(folder, engine, f"engine-{name}", fault, expected, clock))
            figure.broken += [f"{name}: {line}" for line in broken]
        for name in REFUSALS:
            figure.tried["faults"] += 1
            broken = clock.run(refused(folder, name, clock))
            figure.broken += [f"{name}: {line}" for line in broken]
        figure.demand("faults")
    finally:
        engine.end()
        if before is not None:
            os.environ["DOCKER_HOST"] = before
    return figure


async def _one(  # noqa: PLR0917 - called in one place
    folder: Path,
    engine: OwnEngine,
    name: str,
    fault: Callable[[OwnEngine], Awaitable[None]],
    expected: frozenset[str],
    clock: MonotonicClock,
) -> list[str]:
    spec = spec_of(name, {"workload": {"ttft_repeats": 12, "ttft_max_tokens": 10}})
    runner = runner_of(spec, folder, tools_of(spec, "docker", clock=clock))
    await runner.prepare()
    trial = asyncio.create_task(_trial(runner, 0, "slow"))
    log = folder / name / "trials/0000/engine.log"
    async with asyncio.timeout(UP_S):
        while not (log.exists() and b"scripted" in log.read_bytes()):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    await fault(engine)
    record = await trial
    broken = []
    if failure_kind(record) not in expected:
        broken.append(f"it is called {failure_kind(record)}: {record.outcome.failure}")
    following = await _trial(runner, 1, "serves")
    if failure_kind(following) != "measured":
        broken.append(f"the next trial: {following.outcome.failure}")
    return broken + leftovers.containers(name)


async def _trial(runner: Trials, number: int, does: str) -> TrialRecord:
    configuration = Configuration.of({DOES: does})
    return await runner.run(
        TrialRequest(number=number, kind=TrialKind.SEARCH, configuration=configuration)
    )
