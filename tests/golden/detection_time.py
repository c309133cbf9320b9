"""How long it takes to find out what an installed vLLM is, against its own help.

    python -m tests.golden.detection_time ENVIRONMENT/bin/vllm

Each time anew and without autotune's own cache; seconds of the wall clock and of the processor.
"""

import argparse
import resource
import subprocess
import sys
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


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--help-too", action="store_true", help="also time --help=all, once")
    asked = parser.parse_args()
    program = str(asked.program.absolute())
    target = EngineTarget(deployer="process", command=(program, "serve"))
    found = [timed(lambda: CLOCK.run(detect(target))) for _ in range(asked.times)]
    _say("detection, median", [median(column) for column in zip(*found, strict=True)])
    _say("detection, longest", [max(column) for column in zip(*found, strict=True)])
    if asked.help_too:
        command = [program, "serve", "--help=all"]
        _say("--help=all", timed(lambda: subprocess.run(command, check=True, capture_output=True)))


def _say(what: str, seconds: Iterable[float]) -> None:
    wall, processor = seconds
    sys.stdout.write(f"{what}: {wall:.2f} s, {processor:.2f} s of the processor\n")


if __name__ == "__main__":
    main()
