"""What an engine can do, done by a scripted one: each trial ends in the right record, clean."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autotune.clock import Clock, MonotonicClock
from autotune.paths import StudyPaths
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.trial import TrialRequest
from benchmarks.reliability import leftovers
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.scripted import DOES, failure_kind, runner_of, spec_of, tools_of

LOG_BOUND_BYTES: Final = 25 * 1024**2

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "crashes": {"process": "crashed_at_start", "docker": "crashed_at_start"},
    "never-healthy": {"process": "start_timeout", "docker": "start_timeout"},
    "dies": {"process": "died_under_load", "docker": "died_under_load"},
    "exits-0": {"process": "died_under_load", "docker": "died_under_load"},
    "killed": {"process": "killed_from_outside", "docker": "killed_from_outside"},
    "hangs": {"process": "hung", "docker": "hung"},
    "freezes": {"process": "hung", "docker": "hung"},
    "deaf": {"process": "measured", "docker": "measured"},
    "floods": {"process": "measured", "docker": "measured"},
    "fills-shm": {"process": "measured", "docker": "shm_too_small"},
    "drops-shm": {"process": "measured", "docker": "measured"},
    "hog": {"process": "container_oom", "docker": "container_oom"},
    "restarts": {"process": "died_under_load", "docker": "died_under_load"},
    "leaks": {"process": "measured", "docker": "measured"},
    "leaks-gpu": {"process": "measured", "docker": "measured"},
}
"""Behaviour and deployer to the name that the record must have. The host's shared memory is too
large to be filled here, so a process that takes some of it is measured, and it is swept."""


@dataclass
class FakeGpu:
    """GPU memory in use, as a source tells it: what is leaked stays until the next look."""

    keys: tuple[str, ...] = ("gpu_memory_used_bytes",)
    used_bytes: float = 0.0

    async def read(self) -> Mapping[str, float | None]:
        """One look."""
        return {"gpu_memory_used_bytes": self.used_bytes}


def engine_faults(folder: Path, *, deployer: str, only: Collection[str] = ()) -> Figure:
    """Each behaviour once, and after each a server that does nothing wrong.

    Args:
        folder: Scratch.
        deployer: "process" or "docker".
        only: Some behaviours; all if empty.
    """
    figure = Figure(f"engine-faults-{deployer}")
    clock = MonotonicClock()
    for does in only or EXPECTED:
        figure.tried["faults"] += 1
        name = f"faults-{os.getpid()}-{does}"
        broken = clock.run(_one(folder, clock, deployer, does, name))
        figure.broken += [f"{deployer}, {does}: {line}" for line in broken]
    return figure


async def _one(folder: Path, clock: Clock, deployer: str, does: str, name: str) -> list[str]:
    patience_s = 60 if does == "floods" else 5  # 200 MiB take their time on a busy machine
    workload = {"ttft_repeats": 3, "ttft_max_tokens": 16, "request_timeout_s": patience_s}
    spec = spec_of(name, {"workload": workload})
    gpu = FakeGpu()
    tools = tools_of(spec, deployer, clock=clock, extra_sources=(gpu,))
    runner = runner_of(spec, folder, tools)
    await runner.prepare()
    shm = leftovers.shm()
    if does == "leaks-gpu":
        gpu.used_bytes = 2.0 * 1024**3
    faulty = await runner.run(_request(0, does))
    broken = list(_wrong(faulty, deployer, does, StudyPaths(folder / name).trial(0).log))
    broken += _left(folder, name, deployer, shm)
    following = await runner.run(_request(1, "serves"))
    if failure_kind(following) != "measured":
        broken.append(f"the next trial: {following.outcome}")
    return broken + _left(folder, name, deployer, shm)


def _request(number: int, does: str) -> TrialRequest:
    configuration = Configuration.of({DOES: does})
    return TrialRequest(number=number, kind=TrialKind.SEARCH, configuration=configuration)


def _wrong(record: TrialRecord, deployer: str, does: str, log: Path) -> Iterator[str]:
    expected, got = EXPECTED[does][deployer], failure_kind(record)
    if got != expected:
        yield f"it is called {got}, not {expected}: {record.outcome.failure}"
    if log.stat().st_size > LOG_BOUND_BYTES:
        yield f"its log has {log.stat().st_size} bytes"
    if does == "leaks-gpu" and not any("GPU memory" in note for note in record.notes):
        yield f"the leak is not noted: {record.notes}"


def _left(folder: Path, name: str, deployer: str, shm: set[str]) -> list[str]:
    left = leftovers.processes(name) + leftovers.supervisors(folder)
    mark = name if deployer == "process" else "contained"  # in the names that the server gives
    left += [f"shared memory {file}" for file in leftovers.shm() - shm if mark in file]
    return left + (leftovers.containers(name) if deployer == "docker" else [])
