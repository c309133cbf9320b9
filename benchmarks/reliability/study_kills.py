"""kill -9 of the controller at random instants of simulated studies, with real records on disk.

Each controller is a fork of this process (`forked`); SIGKILL treats it as any other.
"""

import os
import random
import shutil
import signal
import sys
import time  # noqa: TID251 - real processes, real time
from dataclasses import dataclass
from pathlib import Path

import psutil

from autotune.paths import StudyPaths
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import finish, preload, start
from benchmarks.reliability.study_check import StudyCheck

STUDY = """
name: {name}
seed: {seed}
probes: [startup, ttft]
objectives: [ttft_short_ns, itl_single_ns]
limits: []
search: {{repeats: 2}}
engine: {{name: simulated}}
"""
WHOLE_S = 600.0
"""The longest that a study may take that nobody kills."""
KILLS_PER_STUDY = 30
"""Then it is run to its end and looked at whole."""
WARM_TRIALS = 4
"""Kills fall within the time that so many trials take, the making of the database included."""
SHORTER, LONGER = 0.5, 1.02
"""What that time is multiplied by when a study has come to its end first, and by each kill."""


@dataclass
class Killer:
    """Runs studies and kills them.

    Attributes:
        trials: Of a study.
        window_s: Kills fall within so much of a start; it follows the machine's other load.
    """

    folder: Path
    rng: random.Random
    figure: Figure
    trials: int
    window_s: float = 0.0

    def run(self, kills: int) -> None:
        """So many kills, over as many studies as it takes."""
        preload(self._arguments("preload", 0, WARM_TRIALS), self.folder)
        begun = time.monotonic()
        self._whole("warm", seed=0, trials=WARM_TRIALS)
        self.window_s = time.monotonic() - begun
        number = 0
        while self.figure.tried["kills"] < kills:
            number += 1
            self._study(f"s{number}", seed=number, kills=kills)

    def _study(self, name: str, *, seed: int, kills: int) -> None:
        check = StudyCheck(StudyPaths(self.folder / "studies" / name))
        for _ in range(KILLS_PER_STUDY):
            if self.figure.tried["kills"] == kills:
                break
            ended = self._kill_once(name, seed, check)
            if ended:
                break
        self._whole(name, seed, self.trials)
        self.figure.broken += check.after_kill(self._told(name))
        self.figure.broken += check.at_end()
        self.figure.tried["studies"] += 1
        self.figure.tried["records"] += check.records()
        self.figure.tried["trials cut off"] += check.cut_off()
        print(self.figure.line(), file=sys.stderr, flush=True)
        if not self.figure.broken:
            shutil.rmtree(self.folder / "studies" / name)

    def _kill_once(self, name: str, seed: int, check: StudyCheck) -> bool:
        """Whether the study came to its end before the kill did."""
        pid = self._start(name, seed, self.trials)
        time.sleep(self.rng.uniform(0.0, 1.0) * self.window_s)
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            self.window_s *= SHORTER
            return True
        self.window_s *= LONGER
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.figure.tried["kills"] += 1
        self.figure.broken += check.after_kill(self._told(name))
        self.figure.broken += [f"orphan: process {p} of {name}" for p in _session(pid)]
        return False

    def _whole(self, name: str, seed: int, trials: int) -> None:
        """Run a study to its end; that it goes on at all is a promise too."""
        code = finish(self._start(name, seed, trials), WHOLE_S)
        if code is None:
            self.figure.broken.append(f"hung: {name}")
        elif code != 0:
            errors = self._told(name).with_suffix(".err").read_text()[-500:]
            self.figure.broken.append(f"exit {code}: {name}: {errors}")

    def _told(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _start(self, name: str, seed: int, trials: int) -> int:
        """Fork a controller; its process id."""
        return start(self._arguments(name, seed, trials), self.folder, self._told(name))

    def _arguments(self, name: str, seed: int, trials: int) -> list[str]:
        file = self.folder / f"{name}.yaml"
        file.write_text(STUDY.format(name=name, seed=seed))
        return ["study", str(file), "--trials", str(trials), "--json"]


def _session(leader: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (OSError, psutil.Error):
            continue
    return found


def study_kills(folder: Path, *, kills: int, seed: int, trials: int = 24) -> Figure:
    """Kill, look, go on.

    Args:
        folder: Scratch.
        kills: How many.
        seed: Of the instants.
        trials: Of a study.
    """
    figure = Figure("study-kills")
    Killer(folder, random.Random(seed), figure, trials).run(kills)  # noqa: S311
    figure.demand("kills", "records")
    return figure
