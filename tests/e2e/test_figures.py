"""Figures that the program must reach, on two cores, from the start of its process."""

import json
import os
import sys
from pathlib import Path
from time import monotonic  # noqa: TID251 - whole commands are timed from outside
from typing import Final

import psutil
import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.readiness import Died, wait_ready
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.units import NS_PER_S
from tests.support.command import Place

MOST_BYTES: Final = 400 * 10**6
GROWTH_BYTES: Final = 15 * 10**6
"""What the last 400 trials may add, of some 215 MB; measured: 9 to 11 MB, 8 of them by trial 275.

A trial leaves some 10 kB: its figures and settings (5 kB, and 2 kB for the watch on the machine),
what the sampler knows of it (1 kB), Optuna's row without details (1 kB). Beside that the models'
matrices, and the arrays that they are asked with, grow until they hold 256 trials.
"""

SIX: Final = {"startup", "ttft", "throughput", "long_context", "prefix_cache", "memory"}

SHORT: Final = """
engine: {name: simulated}
workload:
  {requests: 20, concurrency: 10, warmup_requests: 4, ttft_repeats: 1, long_context_repeats: 1,
   prefix_repeats: 1, revisit_max_documents: 4, telemetry_interval_s: 5}
"""
"""All six tests with few requests: what stays in memory is the trials, not their requests."""

pytestmark = [pytest.mark.figures, pytest.mark.timeout(900)]


def test_forty_simulated_trials_take_under_a_minute(tmp_path: Path) -> None:
    """All six tests in each trial, from process start to the written recommendation."""
    place = Place(folder=tmp_path)
    start_s = monotonic()
    ended = place.run("study", "--engine", "simulated", "--trials", "40", "--json")
    took_s = monotonic() - start_s
    assert ended.code == 0, ended.errors
    assert ended.result["trials"] >= 40
    assert any("docker-compose" in file for file in ended.result["files"])
    assert (tmp_path / "studies" / "default" / "report.SIMULATED.html").is_file()
    paths = (tmp_path / "studies" / "default" / "trials").glob("*/trial.json")
    records = [json.loads(path.read_text())["record"] for path in paths]
    whole = [r for r in records if r["outcome"]["status"] == "measured"]
    assert whole
    for record in whole:
        assert {probe["probe"] for probe in record["probes"]} >= SIX
    assert took_s < 60, f"{took_s:.1f} s"


def test_memory_stays_flat_over_five_hundred_trials(tmp_path: Path) -> None:
    """The controller stays under 400 MB to its end, and hardly grows after trial 100.

    Flat means: after any trial from the 100th on, by when imports, caches and the pool of
    candidates are in place, at most 7% more memory is resident than after the 100th.
    """
    place = Place(folder=tmp_path)
    (tmp_path / "short.yaml").write_text(SHORT)
    used: dict[int, int] = {}
    with place.started("study", "short.yaml", "--trials", "500", "--json") as process:
        controller = psutil.Process(process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "trial_ended":
                used[event["number"]] = controller.memory_info().rss
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert len(used) >= 500
    assert usage.ru_maxrss * 1024 < MOST_BYTES  # the report at the end included
    assert max(rss for number, rss in used.items() if number >= 100) - used[100] < GROWTH_BYTES


def test_a_dead_engine_is_noticed_within_a_second(tmp_path: Path) -> None:
    """Between its last act and the end of the wait for its health, which would go on for minutes.

    The engine is a process that writes down when it ends; both read the same monotonic clock.
    """
    clock = MonotonicClock()
    stamp = tmp_path / "ended"
    program = (
        "import os, pathlib, sys, time; time.sleep(2); "
        "pathlib.Path(sys.argv[1]).write_text(str(time.monotonic_ns())); os._exit(3)"
    )
    plan = LaunchPlan(argv=(sys.executable, "-c", program, str(stamp)), port=free_port())
    pid, start = owner()
    identity = Identity(study="dead", trial=0, owner_pid=pid, owner_start=start)

    async def never() -> bool:
        return False

    async def noticed_ns() -> int:
        deploying = ProcessDeployer(clock).deploy(
            plan, identity=identity, log_path=tmp_path / "log"
        )
        async with deploying as deployment:
            ended = await wait_ready(deployment, never, clock=clock, timeout_s=300)
            assert isinstance(ended, Died)
            return clock.now_ns()

    late_ns = clock.run(noticed_ns()) - int(stamp.read_text())
    assert 0 < late_ns < NS_PER_S, f"{late_ns / NS_PER_S:.2f} s"
