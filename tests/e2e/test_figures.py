"""Figures that the program must reach, on two cores, from the start of its process."""

import json
import os
import resource
import sys
from dataclasses import dataclass
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
from tests.support.browser import WIDTHS, Watched, chromium, launched
from tests.support.command import Place

MOST_BYTES: Final = 400 * 10**6
GROWTH_BYTES: Final = 15 * 10**6
"""What the last 400 trials may add, of some 215 MB; measured: 9 to 11 MB, 8 of them by trial 275.

A trial leaves some 10 kB: its figures and settings (5 kB, and 2 kB for the watch on the machine),
what the sampler knows of it (1 kB), Optuna's row without details (1 kB). Beside that the models'
matrices, and the arrays that they are asked with, grow until they hold 256 trials.
"""

REPORT_S: Final = 5.0
"""Measured: 2.4 to 2.7 s for 528 trials."""
REPORT_BYTES: Final = 5 * 10**6
"""Measured: 2.7 MB."""

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


@dataclass(frozen=True, kw_only=True)
class LongStudy:
    """A study of 500 trials that has ended.

    Attributes:
        used: Number of a trial to the resident bytes at its end.
        peak_bytes: The most that the process held, its report at the end included.
        page: What it wrote.
    """

    place: Place
    code: int
    used: dict[int, int]
    peak_bytes: int
    page: Path


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> LongStudy:
    """Run it; it takes some five minutes."""
    place = Place(folder=tmp_path_factory.mktemp("long"))
    (place.folder / "short.yaml").write_text(SHORT)
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
    return LongStudy(
        place=place,
        code=process.returncode,
        used=used,
        peak_bytes=usage.ru_maxrss * 1024,
        page=place.folder / "studies" / "short" / "report.SIMULATED.html",
    )


def test_memory_stays_flat_over_five_hundred_trials(long_study: LongStudy) -> None:
    """The controller stays under 400 MB to its end, and hardly grows after trial 100.

    Flat means: after any trial from the 100th on, by when imports, caches and the pool of
    candidates are in place, at most 7% more memory is resident than after the 100th.
    """
    used = long_study.used
    assert long_study.code == 0
    assert len(used) >= 500
    assert long_study.peak_bytes < MOST_BYTES
    assert max(rss for number, rss in used.items() if number >= 100) - used[100] < GROWTH_BYTES


def test_the_report_of_five_hundred_trials_takes_under_5_s(long_study: LongStudy) -> None:
    """A whole `autotune report`, from process start to end, of one thread; its page under 5 MB.

    The figure is of processor time: others are at work on the same two cores.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = long_study.place.run("report", "short")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert ended.code == 0, ended.errors
    assert str(long_study.page.relative_to(long_study.place.folder)) in ended.output
    assert long_study.page.stat().st_size < REPORT_BYTES
    assert worked_s < REPORT_S, f"{worked_s:.1f} s"


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed here")
def test_the_page_of_five_hundred_trials_opens_without_the_network(long_study: LongStudy) -> None:
    """No console message, no error, one request (the file itself), and points that open."""
    with launched() as browser:
        for width, scheme in WIDTHS:
            watched = Watched(browser, long_study.page, width=width, scheme=scheme)
            watched.page.locator(f".plot.{watched.plots} .dot.best[data-trial]").first.click()
            assert watched.page.locator("#detail").is_visible()
            assert watched.complaints == []
            assert watched.requests == [watched.page.url]
            assert watched.overflow == 0
            watched.close()


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
