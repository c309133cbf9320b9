"""A disk that is full at some point of a study: a clear end, and the same command goes on.

Each disk is a tmpfs of its own (mount(8), so root is needed), which is made larger afterwards.
"""

import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from autotune.paths import StudyPaths
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import Ended, command, preload
from benchmarks.reliability.study_check import StudyCheck
from benchmarks.reliability.study_kills import STUDY

NAME: Final = "full"
SMALLEST_KIB, LARGEST_KIB = 16, 1536
"""Between one that takes no study file and one on which only the report does not fit."""
ENOUGH: Final = "256m"


def full_disks(folder: Path, *, runs: int, seed: int) -> Figure:
    """Run a study on disks of random sizes, make room, go on.

    Args:
        folder: Scratch; the disks are mounted below it.
        runs: How many.
        seed: Of the sizes.
    """
    figure = Figure("full-disks")
    rng = random.Random(seed)  # noqa: S311
    file = folder / f"{NAME}.yaml"
    file.write_text(STUDY.format(name=NAME, seed=0))
    study = ["study", str(file), "--trials", "6", "--json"]
    preload([*study, "--name", "preload"], folder)
    for number in range(runs):
        size_kib = rng.randint(SMALLEST_KIB, LARGEST_KIB)
        disk = folder / f"disk-{number}"
        disk.mkdir()
        try:
            with _mounted(disk, size_kib):
                broken = list(_one(study, disk, figure))
        except (OSError, subprocess.CalledProcessError):
            figure.tried["runs that need root to mount a disk: not run"] += 1
            return figure
        figure.tried["runs"] += 1
        figure.broken += [f"{size_kib} KiB: {line}" for line in broken]
    figure.demand("runs", "full disks")
    return figure


def _one(study: Sequence[str], disk: Path, figure: Figure) -> Iterator[str]:
    first, second = disk.with_suffix(".first"), disk.with_suffix(".second")
    ended = command(study, disk, output=first)
    check = StudyCheck(StudyPaths(disk / "studies" / NAME))
    if ended.code != 0:
        figure.tried["full disks"] += 1
        yield from _wrong_end(ended)
        if check.paths.trials.exists():
            yield from check.after_kill(first)
    _mount(disk, f"remount,size={ENOUGH}")
    again = command(study, disk, output=second)
    if again.code != 0:
        yield f"it does not go on: exit {again.code}: {again.errors[-300:]}"
        return
    yield from check.after_kill(second)
    yield from check.at_end()
    figure.tried["records"] += check.records()


def _wrong_end(ended: Ended) -> Iterator[str]:
    if ended.code is None or ended.code < 0 or "Traceback" in ended.errors:
        yield f"exit {ended.code}: {ended.errors[-400:]}"
    elif "error: " not in ended.errors or "hint: " not in ended.errors:
        yield f"exit {ended.code} without a word: {ended.errors[-300:]}"


@contextmanager
def _mounted(disk: Path, size_kib: int) -> Iterator[None]:
    _mount(disk, f"size={size_kib}k")
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True, capture_output=True)


def _mount(disk: Path, options: str) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True, capture_output=True
    )
