"""A container whose process dies is noticed at once, not at the time-out."""

import asyncio
import os
import signal
import uuid
from pathlib import Path

import docker
import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.docker import DockerDeployer
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.deployers.readiness import Died, wait_ready
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.units import NS_PER_S
from tests.support.busybox import make_image

pytestmark = [pytest.mark.figures, pytest.mark.docker, pytest.mark.timeout(300)]

TALKING = "i=0; while [ $i -lt 20000 ]; do echo loading shard $i; i=$((i+1)); done; exec sleep 3600"
"""A server that has said much, as vLLM has by then: its log must be whole when its end is told."""


def test_a_dead_container_is_noticed_within_a_second(tmp_path: Path) -> None:
    """From the kill of its process to the end of the wait for its health, minutes before its time.

    Killed from this host, whose clock both moments are read on.
    """
    client = docker.from_env()
    image = make_image(client)
    client.close()
    clock = MonotonicClock()
    plan = LaunchPlan(argv=("sh", "-c", TALKING), image=image, port=free_port())
    pid, start = owner()
    study = f"dead-{uuid.uuid4().hex[:8]}"
    identity = Identity(study=study, trial=0, owner_pid=pid, owner_start=start)
    log = tmp_path / "log"

    async def never() -> bool:
        return False

    async def late_ns() -> int:
        deploying = DockerDeployer(clock).deploy(plan, identity=identity, log_path=log)
        async with deploying as deployment:
            waiting = asyncio.ensure_future(
                wait_ready(deployment, never, clock=clock, timeout_s=300)
            )
            while b"shard 19999" not in log.read_bytes():
                await clock.sleep(0.1)
            if not deployment.pids():
                pytest.skip("the Docker engine is not on this host: its processes cannot be killed")
            killed_ns = clock.now_ns()
            os.kill(deployment.pids()[0], signal.SIGKILL)
            ended = await waiting
            noticed_ns = clock.now_ns()
            assert isinstance(ended, Died)
            assert ended.exit.exit_code == 137
            return noticed_ns - killed_ns

    took_ns = clock.run(late_ns())
    assert 0 < took_ns < NS_PER_S, f"{took_ns / NS_PER_S:.2f} s"
