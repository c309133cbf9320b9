"""Memory hogs, as a process and in a container: ended by the watchdog, by a limit, by the kernel.

Nothing here endangers the machine: a hog has a hard limit of 2 GiB, and what the watchdog guards
is set to 1 GiB less than what is free when the run begins. For the kernel's own OOM killer the
whole run, controller and bystander included, lies in a memory cgroup of 1 GiB.
"""

import os
import subprocess
import sys
import time  # noqa: TID251 - real processes, real time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from autotune.clock import MonotonicClock
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.trial import TrialRequest
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB
from benchmarks.reliability import leftovers
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import finish, start
from benchmarks.reliability.scripted import DOES, failure_kind, runner_of, spec_of, tools_of

HARD_LIMIT_BYTES: Final = 2 * BYTES_PER_GIB
LOW_LIMIT_BYTES: Final = 256 * BYTES_PER_MIB
WATCHED_GIB: Final = 1.0
KERNEL_LIMIT_BYTES: Final = BYTES_PER_GIB
BYSTANDER: Final = "held = b'1' * 100_000_000; input()"
CGROUPS: Final = Path("/sys/fs/cgroup")

ENDS: Final = {"watchdog": {"memory_limit", "container_oom"}, "limit": {"container_oom"}}
"""By what a hog may be ended; on a machine where others free memory the hard limit may be first."""


def hogs(folder: Path, *, deployer: str, runs: int) -> Figure:
    """Half of the runs against the watchdog, half against the hog's own limit.

    Args:
        folder: Scratch.
        deployer: "process" or "docker".
        runs: How many.
    """
    figure = Figure(f"hogs-{deployer}")
    for number in range(runs):
        by = "watchdog" if number % 2 == 0 else "limit"
        name = f"hogs-{os.getpid()}-{number}"
        with subprocess.Popen([sys.executable, "-c", BYSTANDER], stdin=subprocess.PIPE) as other:
            record = _run(folder, name, deployer, by)
            if other.poll() is not None:
                figure.broken.append(f"{by}: the bystander ended with {other.returncode}")
            other.kill()
        kind = failure_kind(record)
        figure.tried["runs"] += 1
        figure.tried[f"ended as {kind}"] += 1
        if kind not in ENDS[by]:
            figure.broken.append(f"{by}: it ended as {kind}: {record.outcome.failure}")
        left = leftovers.processes(name)
        left += leftovers.containers(name) if deployer == "docker" else []
        figure.broken += [f"{by}: left: {line}" for line in left]
    figure.demand("runs")
    return figure


def _run(folder: Path, name: str, deployer: str, by: str) -> TrialRecord:
    available_gib = psutil.virtual_memory().available / BYTES_PER_GIB
    reserve_gib = available_gib - WATCHED_GIB if by == "watchdog" else 0.5
    limit = HARD_LIMIT_BYTES if by == "watchdog" else LOW_LIMIT_BYTES
    return _trial(folder, name, deployer, reserve_gib=reserve_gib, limit_bytes=limit)


def _trial(
    folder: Path, name: str, deployer: str, *, reserve_gib: float, limit_bytes: int | None
) -> TrialRecord:
    clock = MonotonicClock()
    workload = {"telemetry_interval_s": 0.2, "request_timeout_s": 30}
    changes = {"headroom": {"host_gib": round(reserve_gib, 2), "gpu_gib": 0.0},
               "workload": workload}  # fmt: skip
    spec = spec_of(name, changes)
    tools = tools_of(spec, deployer, clock=clock, memory_limit_bytes=limit_bytes)
    runner = runner_of(spec, folder, tools)
    configuration = Configuration.of({DOES: "hog"})
    request = TrialRequest(number=0, kind=TrialKind.SEARCH, configuration=configuration)
    return clock.run(runner.run(request))


def kernel_ooms(folder: Path, *, runs: int) -> Figure:
    """A hog without a limit, in a cgroup with its controller: the kernel takes the hog.

    Args:
        folder: Scratch.
        runs: How many.
    """
    figure = Figure("kernel-oom")
    for number in range(runs):
        group = _cgroup(f"autotune-reliability-{os.getpid()}-{number}")
        if group is None:
            figure.tried["runs that need root and a memory cgroup: not run"] += 1
            return figure
        told = folder / f"{number}.out"
        arguments = [str(group), str(folder), f"kernel-{os.getpid()}-{number}"]
        code = finish(start(arguments, folder, told, work=_inside), 120.0)
        figure.tried["runs"] += 1
        said = told.read_text()
        if code != 0 or "host_oom True" not in said:
            figure.broken.append(
                f"exit {code}: {said} {told.with_suffix('.err').read_text()[-400:]}"
            )
        _remove(group)
    figure.demand("runs")
    return figure


def _inside(arguments: Sequence[str]) -> int:
    """In the fork: enter the cgroup, run the trial beside a bystander."""
    group, folder, name = arguments
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    with subprocess.Popen([sys.executable, "-c", BYSTANDER], stdin=subprocess.PIPE) as other:
        record = _trial(Path(folder), name, "process", reserve_gib=0.5, limit_bytes=None)
        print(failure_kind(record), other.poll() is None, record.outcome.failure, flush=True)
        other.kill()
    return 0


def _remove(group: Path) -> None:
    """Remove a cgroup once the last of its processes has gone."""
    for _ in range(200):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def _cgroup(name: str) -> Path | None:
    """A memory cgroup of 1 GiB below this process's own, of either version; None if refused."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        version1 = "memory" in controllers.split(",")
        if not version1 and controllers:
            continue
        root = CGROUPS / "memory" if version1 else CGROUPS
        group = Path(f"{root}{path}") / name
        limit = "memory.limit_in_bytes" if version1 else "memory.max"
        try:
            group.mkdir()
            (group / limit).write_text(str(KERNEL_LIMIT_BYTES))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        return group
    return None
