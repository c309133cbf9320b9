"""The long form of the fault tests: kills, faults, hogs, time, damage, fuzz, secrets.

    python -m benchmarks.reliability.run                       # everything, hours
    python -m benchmarks.reliability.run study-kills --kills 500
    python -m benchmarks.reliability.run fuzz --minutes 10 --only sse

Exit code 1 if a promise was broken; each is printed. Parts that need Docker take the engine that
DOCKER_HOST names. Everything is written under a scratch folder and removed unless --keep.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time  # noqa: TID251 - real processes, real time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.damage import damage
from benchmarks.reliability.docker_faults import docker_faults
from benchmarks.reliability.engine_faults import engine_faults
from benchmarks.reliability.engine_kills import engine_kills
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.full_disks import full_disks
from benchmarks.reliability.fuzz import fuzz
from benchmarks.reliability.hogs import hogs, kernel_ooms
from benchmarks.reliability.hostile import hostile
from benchmarks.reliability.planted import planted_secrets
from benchmarks.reliability.study_kills import study_kills
from benchmarks.reliability.time_faults import clock_jumps, stops

Part = Callable[[Path, argparse.Namespace], Figure]

PARTS: dict[str, Part] = {
    "docker-faults": lambda folder, _o: docker_faults(folder),
    "secrets": lambda folder, o: planted_secrets(folder, deployers=tuple(o.deployers)),
    "full-disks": lambda folder, o: full_disks(folder, runs=o.disks, seed=o.seed),
    "hostile": lambda folder, _o: hostile(folder),
    "hogs-process": lambda folder, o: hogs(folder, deployer="process", runs=o.hogs),
    "hogs-docker": lambda folder, o: hogs(folder, deployer="docker", runs=o.hogs),
    "kernel-oom": lambda folder, o: kernel_ooms(folder, runs=o.hogs),
    "fuzz": lambda folder, o: fuzz(folder, cpu_s=60 * o.minutes, seed=o.seed, only=o.only),
    "engine-kills-process": lambda folder, o: engine_kills(
        folder, deployer="process", kills=o.engine_kills, seed=o.seed
    ),
    "engine-kills-docker": lambda folder, o: engine_kills(
        folder, deployer="docker", kills=o.engine_kills, seed=o.seed
    ),
    "engine-faults-process": lambda folder, o: engine_faults(
        folder, deployer="process", only=o.only
    ),
    "engine-faults-docker": lambda folder, o: engine_faults(folder, deployer="docker", only=o.only),
    "stops-process": lambda folder, o: stops(
        folder, deployer="process", stops=o.stops, seed=o.seed
    ),
    "stops-docker": lambda folder, o: stops(folder, deployer="docker", stops=o.stops, seed=o.seed),
    "clock-jumps": lambda folder, o: clock_jumps(folder, trials=o.jumped, seed=o.seed),
    "damage": lambda folder, o: damage(folder, cases=o.cases, seed=o.seed),
    "study-kills": lambda folder, o: study_kills(folder, kills=o.kills, seed=o.seed),
}


def main() -> int:
    """Parse, run the parts one after the other, print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--kills", type=int, default=500, help="of simulated studies")
    parser.add_argument("--engine-kills", type=int, default=30, help="of studies with servers")
    parser.add_argument("--stops", type=int, default=6, help="of a controller, some 30 s each")
    parser.add_argument("--jumped", type=int, default=10, help="trials under a jumping clock")
    parser.add_argument("--disks", type=int, default=30, help="that are full in a study")
    parser.add_argument("--hogs", type=int, default=10, help="runs with each deployer")
    parser.add_argument("--deployers", nargs="*", default=["process", "docker"], help="of secrets")
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU for each fuzz target")
    parser.add_argument("--only", nargs="*", default=[], help="fuzz targets or faults of engines")
    parser.add_argument("--cases", type=int, default=2000, help="of damaged study files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON lines, appended")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
    options = parser.parse_args()
    broken = 0
    for name in options.parts or PARTS:
        folder = Path(tempfile.mkdtemp(prefix=f"autotune-{name}-"))
        start = time.monotonic()
        figure = PARTS[name](folder, options)
        figure.wall_s = time.monotonic() - start
        for line in figure.broken:
            print(f"BROKEN {line}")
        print(figure.line(), flush=True)
        if options.out is not None:
            with options.out.open("a") as file:
                file.write(json.dumps(figure.as_json()) + "\n")
        if figure.broken or options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
        broken += len(figure.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
