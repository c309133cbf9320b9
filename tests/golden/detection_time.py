"""How long it takes to find out what an installed vLLM is, against its own help.

    python -m tests.golden.detection_time ENVIRONMENT/bin/vllm

At first, with nothing kept of an earlier look; with its files dropped from the page cache too; and
later, when the files are as they were. Seconds of the wall clock and of the processor.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Final

from autotune.clock import MonotonicClock
from autotune.engines.vllm.capabilities import detect
from autotune.seams.engine import EngineTarget
from autotune.units import NS_PER_S

CLOCK: Final = MonotonicClock()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that passed, and seconds of processor time of this process and its children."""
    began_ns, used_s = CLOCK.now_ns(), _processor_s()
    work()
    return (CLOCK.now_ns() - began_ns) / NS_PER_S, _processor_s() - used_s


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def at_first(target: EngineTarget) -> tuple[float, float]:
    """With nothing kept of an earlier look."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        return timed(lambda: CLOCK.run(detect(target)))


def from_disk(target: EngineTarget) -> tuple[float, float]:
    """The same, when the files of the engine and its Python must be read from the disk."""
    program = Path(target.command[0])
    for place in (program.parent.parent / "lib", Path(sys.base_prefix) / "lib"):
        for file in place.rglob("*.py*"):
            with contextlib.suppress(OSError), file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return at_first(target)


def main() -> None:
    """Print lines for each way: median and longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--help-too", action="store_true", help="also time --help=all, once")
    asked = parser.parse_args()
    program = str(asked.program.absolute())
    target = EngineTarget(deployer="process", command=(program, "serve"))
    _distribution("at first, from the disk", [from_disk(target) for _ in range(asked.times)])
    _distribution("at first", [at_first(target) for _ in range(asked.times)])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        CLOCK.run(detect(target))
        later = [timed(lambda: CLOCK.run(detect(target))) for _ in range(asked.times)]
    _distribution("later", later)
    if asked.help_too:
        command = [program, "serve", "--help=all"]
        _say("--help=all", timed(lambda: subprocess.run(command, check=True, capture_output=True)))


def _distribution(what: str, found: list[tuple[float, float]]) -> None:
    columns = list(zip(*found, strict=True))
    _say(f"{what}, median of {len(found)}", [median(column) for column in columns])
    _say(f"{what}, longest", [max(column) for column in columns])


def _say(what: str, seconds: Iterable[float]) -> None:
    wall, processor = seconds
    sys.stdout.write(f"{what}: {wall:.2f} s, {processor:.2f} s of the processor\n")


if __name__ == "__main__":
    main()
