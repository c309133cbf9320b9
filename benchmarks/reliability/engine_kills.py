"""kill -9 of the controller at random instants of studies with real processes and containers."""

import os
import random
import signal
import time  # noqa: TID251 - real processes, real time
from pathlib import Path

from autotune.deployers.footprint import footprints, private_folder
from autotune.paths import StudyPaths
from benchmarks.reliability import leftovers
from benchmarks.reliability.controller import work
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import finish, start
from benchmarks.reliability.study_check import StudyCheck

TRIALS_AFTER = 2
"""Trials that the last, undisturbed run has left to do at least."""
WHOLE_S = 600.0
STARTS_PER_KILL = 5
"""A run that ends before its kill is followed by another, so often at most."""


def engine_kills(folder: Path, *, deployer: str, kills: int, seed: int) -> Figure:
    """One study, killed so many times, then run to its end.

    Args:
        folder: Scratch.
        deployer: "process" or "docker".
        kills: How many.
        seed: Of the instants.
    """
    figure = Figure(f"engine-kills-{deployer}")
    rng = random.Random(seed)  # noqa: S311
    name = f"kills-{os.getpid()}"
    check = StudyCheck(StudyPaths(folder / "studies" / name))
    shm = leftovers.shm()
    budget = ["0"]

    def begin(told: Path) -> int:
        budget[0] = str(check.records() + TRIALS_AFTER)
        return start([deployer, name, budget[0]], folder, told, work=work)

    window_s = _window_s(begin(folder / "first.jsonl"))
    for number in range(STARTS_PER_KILL * kills):
        if figure.tried["kills"] == kills:
            break
        told = folder / f"{number}.jsonl"
        pid = begin(told)
        time.sleep(rng.uniform(0.0, 1.0) * window_s)
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            figure.tried["kills"] += 1
        figure.tried["with a server up"] += bool(_standing(name, deployer))
        figure.broken += check.after_kill(told)
    code = finish(begin(folder / "last.jsonl"), WHOLE_S)
    if code != 0:
        figure.broken.append(f"exit {code}: {(folder / 'last.err').read_text()[-500:]}")
    figure.broken += check.at_end()
    figure.tried["records"] += check.records()
    figure.tried["measured"] += check.measured()
    figure.tried["trials cut off"] += check.cut_off()
    figure.demand("kills", "measured")
    figure.broken += [f"orphan: {line}" for line in _standing(name, deployer)]
    figure.broken += [f"orphan: {line}" for line in leftovers.supervisors(folder)]
    figure.broken += [
        f"orphan: shared memory {f}" for f in leftovers.shm() - shm if "autotune" in f
    ]
    figure.broken += [
        f"orphan: note {note.deployment}"
        for note in footprints(private_folder())
        if note.identity.study == name
    ]
    return figure


def _window_s(pid: int) -> float:
    """How long an undisturbed run of some trials takes; kills fall within it."""
    begun = time.monotonic()
    finish(pid, WHOLE_S)
    return time.monotonic() - begun


def _standing(name: str, deployer: str) -> list[str]:
    """Processes and containers of the study."""
    found = leftovers.processes(name)
    return found + (leftovers.containers(name) if deployer == "docker" else [])
