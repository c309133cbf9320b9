"""Readers of outside texts, fed with damaged ones for so many CPU-minutes each."""

import random
import signal
import time  # noqa: TID251 - CPU time is what is asked for
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from benchmarks.reliability.figure import Figure
from benchmarks.reliability.fuzz_targets import TARGETS, Target
from benchmarks.reliability.mutate import mutated

HANG_S: Final = 5.0
"""CPU time of one input above which reading counts as hung; the usual is a millisecond."""
KEPT: Final = 20
"""Different crashes of a target that are kept; then it is ended."""


class HungError(Exception):
    """Reading took too long."""


def fuzz(folder: Path, *, cpu_s: float, seed: int, only: Collection[str] = ()) -> Figure:
    """Feed each target.

    Args:
        folder: Inputs that broke a promise are kept there.
        cpu_s: CPU time for each target.
        seed: Of the damages.
        only: Some targets; all if empty.
    """
    figure = Figure("fuzz")
    for name in only or TARGETS:
        if name in TARGETS:
            rng = random.Random(f"{seed}/{name}")  # noqa: S311
            _feed(name, TARGETS[name], folder, rng, cpu_s, figure)
        figure.demand(f"inputs for {name}")
    return figure


def _feed(  # noqa: PLR0917 - called in one place
    name: str, target: Target, folder: Path, rng: random.Random, cpu_s: float, figure: Figure
) -> None:
    corpus = target.corpus()
    end = time.process_time() + cpu_s
    seen: set[str] = set()
    while time.process_time() < end and len(seen) < KEPT:
        figure.tried[f"inputs for {name}"] += 1
        data = mutated(rng.choice(corpus), corpus, rng)
        try:
            with _bounded():
                target.read(data, folder, rng)
        except Exception as error:  # noqa: BLE001 - whatever escapes is the finding
            where = _where(error)
            if where not in seen:
                seen.add(where)
                kept = folder / f"{name}-{len(seen)}"
                kept.write_bytes(data)
                figure.broken.append(f"{name}: {where} ({kept})")
    figure.tried[f"CPU-s of {name}"] = round(cpu_s)


def _where(error: Exception) -> str:
    """What went wrong and in which line of the program."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/autotune/" in f.filename] or list(frames)
    at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {at}: {str(error)[:200]!r}"


@contextmanager
def _bounded() -> Iterator[None]:
    """End what takes more CPU time than a hang."""

    def hung(_number: int, _frame: FrameType | None) -> None:
        message = f"over {HANG_S:g} s of CPU time"
        raise HungError(message)

    before = signal.signal(signal.SIGVTALRM, hung)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
