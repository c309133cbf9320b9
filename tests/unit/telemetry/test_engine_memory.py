"""The engine's own memory, from cgroups of both versions and from processes."""

import os
from pathlib import Path

import psutil
import pytest

from autotune.clock import MonotonicClock, VirtualClock
from autotune.telemetry.engine_memory import (
    EngineMemorySource,
    cpu_seconds,
    pss_bytes,
    rss_bytes,
    working_set_bytes,
)
from tests.support.still import StillDeployment

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def cgroup(folder: Path, version: int, used: int, inactive: int) -> Path:
    """A memory cgroup's files."""
    current = {1: "memory.usage_in_bytes", 2: "memory.current"}[version]
    key = {1: "total_inactive_file", 2: "inactive_file"}[version]
    (folder / current).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{key} {inactive}\nactive_file 9\n")
    return folder


def process(proc: Path, pid: int, *, rss_pages: int, pss_kib: int | None, ticks: int = 0) -> None:
    """A process's files."""
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "statm").write_text(f"9999 {rss_pages} 0 0 0 0 0\n")
    rest = f"S 1 1 1 0 -1 0 0 0 0 0 {ticks} {ticks} 0 0 20 0 1 0 5"
    (folder / "stat").write_text(f"{pid} (a (b) c) {rest}")
    if pss_kib is not None:
        (folder / "smaps_rollup").write_text(
            f"5-7 ---p 0 00:00 0 [rollup]\nRss: 1 kB\nPss:   {pss_kib} kB\nPss_Anon: 3 kB\n"
        )


def read(source: EngineMemorySource) -> float | None:
    """One look at the memory."""
    return MonotonicClock().run(source.read())["engine_memory_bytes"]


@pytest.mark.parametrize("version", [1, 2])
def test_the_working_set_of_a_cgroup(tmp_path: Path, version: int) -> None:
    """Use less inactive file cache, as the kubelet counts, for both versions of cgroups."""
    folder = cgroup(tmp_path, version, used=1000, inactive=300)
    assert working_set_bytes(folder) == 700
    assert read(EngineMemorySource(StillDeployment((), folder))) == 700


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    """A container that has been removed has no memory figure."""
    assert working_set_bytes(tmp_path) is None
    assert read(EngineMemorySource(StillDeployment((), tmp_path))) is None


def test_more_cache_than_use(tmp_path: Path) -> None:
    """Two files read one after the other may disagree; memory is never negative."""
    assert working_set_bytes(cgroup(tmp_path, 2, used=100, inactive=300)) == 0


def test_processes_share_pages(tmp_path: Path) -> None:
    """Without a cgroup the proportional sizes are added; a process that does not tell counts whole.

    The second process has ended, the third tells only its resident size.
    """
    process(tmp_path, 41, rss_pages=100, pss_kib=80)
    process(tmp_path, 43, rss_pages=50, pss_kib=None)
    source = EngineMemorySource(StillDeployment((41, 42, 43)), proc=tmp_path)
    assert read(source) == 80 * 1024 + 50 * PAGE


class SlowClock(VirtualClock):
    """Every look at it takes a second."""

    def now_ns(self) -> int:
        """A second later than the last time."""
        self.advance(1.0)
        return super().now_ns()


def test_expensive_figures_are_read_rarely(tmp_path: Path) -> None:
    """Where reading PSS takes long, growth is taken from the resident size meanwhile."""
    process(tmp_path, 41, rss_pages=100, pss_kib=80)
    clock = SlowClock()
    source = EngineMemorySource(StillDeployment((41,)), clock, proc=tmp_path)
    assert read(source) == 80 * 1024
    process(tmp_path, 41, rss_pages=110, pss_kib=1)  # if it were read it would be 1 KiB
    assert read(source) == 80 * 1024 + 10 * PAGE
    clock.advance(60.0)  # the reading took 1 s, so that it may be repeated after 50 s
    assert read(source) == 1024


def test_processor_time_of_those_seen_twice(tmp_path: Path) -> None:
    """The ratio is processor seconds per second; a process that has just come does not count."""
    clock = VirtualClock()
    process(tmp_path, 41, rss_pages=1, pss_kib=1, ticks=0)
    deployment = StillDeployment((41,))
    source = EngineMemorySource(deployment, clock, proc=tmp_path)
    look = MonotonicClock().run
    assert look(source.read())["engine_cpu_ratio"] is None
    clock.advance(2.0)
    process(tmp_path, 41, rss_pages=1, pss_kib=1, ticks=TICKS)  # 1 s user, 1 s system
    process(tmp_path, 42, rss_pages=1, pss_kib=1, ticks=50 * TICKS)
    deployment.processes = (41, 42)
    assert look(source.read())["engine_cpu_ratio"] == pytest.approx(1.0)


def test_this_process() -> None:
    """The figures of a real process are those of psutil."""
    pid, me = os.getpid(), psutil.Process()
    memory = me.memory_full_info()
    rss, pss, cpu = rss_bytes(pid), pss_bytes(pid), cpu_seconds(pid)
    assert rss == pytest.approx(memory.rss, rel=0.1)
    assert pss == pytest.approx(memory.pss, rel=0.1)
    assert cpu == pytest.approx(sum(me.cpu_times()[:2]), abs=0.5)


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    """Nothing is known of it."""
    assert rss_bytes(41, tmp_path) is None
    assert pss_bytes(41, tmp_path) is None
    assert cpu_seconds(41, tmp_path) is None
