"""An impatient user: Ctrl-C, and again, and again."""

import asyncio
import signal
import uuid
from pathlib import Path

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.marks import owner
from autotune.seams.deployment import Identity
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
