"""An impatient user: Ctrl-C, and again, and again."""

import asyncio
import signal
import uuid
from pathlib import Path

import docker
import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.marks import owner
from autotune.seams.deployment import Identity
from tests.contract.deployers.test_docker import DockerBench
from tests.contract.deployers.test_process import ProcessBench


@pytest.mark.parametrize("behaviour", ["serve", "deaf", "forks"])
def test_three_ctrl_c_leave_no_process(tmp_path: Path, behaviour: str) -> None:
    """Also of a server that does not listen to SIGTERM, or that has hidden a child."""
    bench = ProcessBench(tmp_path)
    pid, start = owner()
    study = f"ctrl-c-{uuid.uuid4().hex[:8]}"
    identity = Identity(study=study, trial=0, owner_pid=pid, owner_start=start)
    started: list[int] = []

    async def trial() -> None:
        plan = bench.plan(behaviour)
        deploying = bench.deployer.deploy(plan, identity=identity, log_path=tmp_path / "log")
        async with deploying as deployment:
            started.extend(deployment.pids())
            loop = asyncio.get_running_loop()
            for after_s in (0.0, 0.05, 0.1):
                loop.call_later(after_s, signal.raise_signal, signal.SIGINT)
            await loop.create_future()

    with pytest.raises(KeyboardInterrupt):
        MonotonicClock().run(trial())
    assert started
    assert bench.left(study) == []


@pytest.mark.docker
@pytest.mark.parametrize("behaviour", ["serve", "deaf"])
@pytest.mark.parametrize("first_s", [0.0, 0.02, 0.2, None])
def test_three_ctrl_c_leave_no_container(
    tmp_path: Path, behaviour: str, first_s: float | None
) -> None:
    """While it is created, while it starts, and once it runs (None); also where it is deaf."""
    client = docker.from_env()
    bench = DockerBench(client)
    pid, start = owner()
    study = f"ctrl-c-{uuid.uuid4().hex[:8]}"
    identity = Identity(study=study, trial=0, owner_pid=pid, owner_start=start)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(0)
        signal.raise_signal(signal.SIGINT)

    async def trial() -> None:
        plan = bench.plan(behaviour)
        deploying = bench.deployer.deploy(plan, identity=identity, log_path=tmp_path / "log")
        loop = asyncio.get_running_loop()
        presses = [0.0 if first_s is None else first_s]
        presses += [presses[0] + 0.05, presses[0] + 0.4]
        if first_s is not None:
            for after_s in presses:
                loop.call_later(after_s, press)
        async with deploying as deployment:
            assert deployment.pids()
            if first_s is None:
                for after_s in presses:
                    loop.call_later(after_s, press)
            await loop.create_future()

    try:
        with pytest.raises(KeyboardInterrupt):
            MonotonicClock().run(trial())
        assert pressed
        assert bench.left(study) == []
    finally:
        client.close()
