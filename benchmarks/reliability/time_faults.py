"""What time can do: a controller that stands still beyond every wait, a wall clock that jumps."""

import os
import random
import signal
import subprocess
import sys
import time  # noqa: TID251 - real processes, real time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from autotune.deployers.processes import read_stat
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, TrialRecord
from benchmarks.reliability import leftovers
from benchmarks.reliability.controller import SHORT_WAITS_S, work
from benchmarks.reliability.corpora import ROOT
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import finish, start
from benchmarks.reliability.scripted import failure_kind
from benchmarks.reliability.study_check import StudyCheck

STOPPED_S: Final = SHORT_WAITS_S + 5.0
"""Longer than any wait of the controller's."""
BETWEEN_S: Final = 20.0
"""Within which a stop falls after the last one: some trials, so that not every one is spoiled (a
study gives up after five in a row that fail through no fault of theirs)."""
WHOLE_S: Final = 900.0
SPOILED: Final = frozenset({"measured", "client_bound", "deployer_fault"})
"""What a trial may be called: nothing that blames its configuration."""

LIBRARIES: Final = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/*MT.so.1")
JUMPS: Final = ("+400d", "-400d", "+1h", "-1h", "+10y", "+0")
JUMP_S: Final = 1.0
LEAST_SPAN_DAYS: Final = 300.0
DAY_S: Final = 86_400.0


def stops(folder: Path, *, deployer: str, stops: int, seed: int) -> Figure:
    """SIGSTOP to the controller at random instants, SIGCONT once all its waits are over.

    Every other stop falls where a server is being measured, the rest anywhere.

    Args:
        folder: Scratch.
        deployer: "process" or "docker".
        stops: How many.
        seed: Of the instants.
    """
    figure = Figure(f"stops-{deployer}")
    rng = random.Random(seed)  # noqa: S311
    name = f"stops-{os.getpid()}"
    check = StudyCheck(StudyPaths(folder / "studies" / name))
    arguments = [deployer, name, str(3 * stops + 4), "short"]
    pid = start(arguments, folder, folder / "told.jsonl", work=work)
    while _runs(pid) and not check.records():
        time.sleep(0.1)
    for number in range(stops):
        time.sleep(rng.uniform(0.0, BETWEEN_S))
        if number % 2 == 0:
            _wait_for_a_session(check.paths, pid)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)
        figure.tried["stops"] += 1
    code = finish(pid, WHOLE_S)
    if code != 0:
        figure.broken.append(f"exit {code}: {(folder / 'told.err').read_text()[-500:]}")
    figure.broken += check.at_end()
    figure.broken += [f"orphan: {line}" for line in leftovers.processes(name)]
    figure.broken += [f"orphan: {line}" for line in leftovers.supervisors(folder)]
    if deployer == "docker":
        figure.broken += [f"orphan: {line}" for line in leftovers.containers(name)]
    _look(check.whole_records(), figure)
    figure.tried["spoiled by a stop"] += sum(
        "stood still" in str(record.outcome.failure) for record in check.whole_records()
    )
    figure.demand("stops", "measured", "spoiled by a stop")
    return figure


def _wait_for_a_session(paths: StudyPaths, pid: int) -> None:
    """Until a trial has begun to sample: every other stop, so that not all fall between trials."""
    while _runs(pid):
        trials = sorted(paths.trials.iterdir())
        newest = paths.trial(int(trials[-1].name))
        if newest.telemetry.exists() and not newest.record.exists():
            return
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.is_running


def clock_jumps(folder: Path, *, trials: int, seed: int) -> Figure:
    """A study whose wall clock jumps every second, by years and back (libfaketime).

    Args:
        folder: Scratch.
        trials: Of the study.
        seed: Of the jumps.
    """
    figure = Figure("clock-jumps")
    library = _library()
    if library is None:
        figure.tried["runs that need libfaketime (apt-get install faketime): not run"] += 1
        return figure
    rng = random.Random(seed)  # noqa: S311
    offset = folder / "offset"
    offset.write_text("+0")
    name = f"jumps-{os.getpid()}"
    fakes = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(ROOT),
    }
    began = time.monotonic()
    with (folder / "told.jsonl").open("w") as told, (folder / "told.err").open("w") as errors:
        controller = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.controller", "process", name,
             str(trials)],
            cwd=folder, env={**os.environ, **fakes}, stdout=told, stderr=errors,
        )  # fmt: skip
        while controller.poll() is None and time.monotonic() - began < WHOLE_S:
            half = offset.with_suffix(".half")
            half.write_text(rng.choice(JUMPS))
            half.replace(offset)
            figure.tried["jumps"] += 1
            time.sleep(JUMP_S)
        controller.kill()
    wall_s = time.monotonic() - began
    if controller.wait() != 0:
        figure.broken.append(
            f"exit {controller.returncode}: {(folder / 'told.err').read_text()[-500:]}"
        )
    check = StudyCheck(StudyPaths(folder / "studies" / name))
    figure.broken += check.at_end()
    records = check.whole_records()
    _look(records, figure)
    figure.broken += [line for record in records for line in _durations(record, wall_s)]
    figure.tried["days between wall times of trials"] = round(_span_days(records))
    if _span_days(records) < LEAST_SPAN_DAYS:
        figure.broken.append("the clock did not jump: nothing is shown")
    figure.demand("jumps", "measured")
    return figure


def _look(records: Sequence[TrialRecord], figure: Figure) -> None:
    for record in records:
        kind = failure_kind(record)
        figure.tried[kind] += 1
        if kind not in SPOILED or record.outcome.status is OutcomeStatus.INFEASIBLE:
            figure.broken.append(
                f"trial {record.number} is called {kind}: {record.outcome.failure}"
            )


def _durations(record: TrialRecord, wall_s: float) -> list[str]:
    """Times that cannot be: negative ones, or longer than the whole run."""
    spans = {f"phase {p.name}": p.end_ns - p.start_ns for p in record.phases}
    spans |= {k: v for k, v in record.metrics.items() if k.endswith("_ns") and v is not None}
    return [
        f"trial {record.number}: {name} took {span_ns / 1e9:.3f} s of {wall_s:.0f} s"
        for name, span_ns in spans.items()
        if not 0 <= span_ns <= wall_s * 1e9
    ]


def _span_days(records: Sequence[TrialRecord]) -> float:
    at = [datetime.fromisoformat(record.wall_start).timestamp() for record in records]
    return (max(at) - min(at)) / DAY_S if at else 0.0


def _library() -> str | None:
    """The one that AUTOTUNE_FAKETIME names, else Debian's."""
    named = os.environ.get("AUTOTUNE_FAKETIME")
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    return named or next((str(path) for path in found), None)
