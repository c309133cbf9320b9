"""Controllers that are killed at random instants leave nothing that a sweep does not end.

AUTOTUNE_KILLS=30 makes it thirty kills per deployer instead of a few.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from autotune.deployers.footprint import private_folder
from autotune.deployers.marks import owner
from autotune.seams.deployment import Identity
from tests.contract.deployer_suite import CLOCK, CONTROLLER, Bench, ready
from tests.contract.deployers.test_docker import DockerBench
from tests.contract.deployers.test_process import ProcessBench

KILLS = int(os.environ.get("AUTOTUNE_KILLS", "4"))
START_S = {"process": 0.6, "docker": 1.5}
"""About how long a controller takes to have its server running."""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Servers as processes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    private_folder()
    return ProcessBench(tmp_path)


@pytest.fixture
def containers() -> Iterator[Bench]:
    """Servers as containers."""
    client = docker.from_env()
    yield DockerBench(client)
    client.close()


def kill_at_random(bench: Bench, folder: Path, rng: random.Random) -> None:
    """Start a controller with a server and kill it at some instant of the start or after."""
    folder.mkdir()
    plan = bench.plan("serve")
    arguments = [bench.deployer.name, "kills", plan.image or "", str(plan.port), *plan.argv]
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    ) as controller:
        try:
            controller.wait(rng.uniform(0.1, 1.3) * START_S[bench.deployer.name])
        except subprocess.TimeoutExpired:
            controller.kill()


async def sweep_until_nothing_is_left(bench: Bench, living: list[str]) -> None:
    """Sweep, and again: an engine may still be creating what a dead controller had asked for."""
    async with asyncio.timeout(60):
        while True:
            await bench.deployer.sweep("kills")
            if sorted(bench.left("kills")) == living:
                return
            await asyncio.sleep(0.05)


def check(bench: Bench, folder: Path) -> None:
    """Kill, sweep, look; the seed is that of the attempt, so a failure can be repeated."""
    pid, start = owner()
    identity = Identity(study="kills", trial=0, owner_pid=pid, owner_start=start)

    async def main() -> None:
        async with bench.deployer.deploy(
            bench.plan("serve"), identity=identity, log_path=folder / "log"
        ) as mine:
            await ready(mine)
            living = sorted(bench.left("kills"))
            assert living
            for number in range(KILLS):
                kill_at_random(bench, folder / str(number), random.Random(number))  # noqa: S311
                await sweep_until_nothing_is_left(bench, living)
                assert mine.exit_evidence() is None

    CLOCK.run(main())


def test_processes(process: Bench, tmp_path: Path) -> None:
    """Process deployer: no process and no note is left, and a living study's server stays."""
    check(process, tmp_path / "runs")


@pytest.mark.docker
@pytest.mark.timeout(60 + 20 * KILLS)
def test_containers(containers: Bench, tmp_path: Path) -> None:
    """Docker deployer: no container is left, and a living study's server stays."""
    check(containers, tmp_path / "runs")
