"""Everything that docs/search.md tells, measured at once by as many processors as there are.

    python -m benchmarks.search.everything --out FOLDER --jobs 16 --until-s 1320
    python -m benchmarks.search.everything --out FOLDER --merge

The first keeps a file for each unit of work as it ends; broken off, or out of time, the same
command goes on where it stopped. The second writes `benchmarks/search/results/` and the tables of
docs/search.md of whatever is there. Every process keeps to one thread. Optuna's Gaussian process
needs torch, and is left out without it.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import time  # noqa: TID251 - a benchmark's own time limit
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.search.merge import ROOT, merge, results_in
from benchmarks.search.synthetic import all_columns
from benchmarks.search.units import Size, Unit, units


def file_of(out: Path, unit: Unit) -> Path:
    """Where a unit's result is kept."""
    return out / unit.part / f"{unit.name}.json"


def one_thread() -> None:
    """Keep this process to one processor."""
    threadpool_limits(1)
    if importlib.util.find_spec("torch") is not None:
        import torch  # noqa: PLC0415 - an extra of this benchmark, seconds to import

        torch.set_num_threads(1)


def finish(unit: Unit, out: Path) -> None:
    """Do a unit unless it is done or no longer wanted, and keep its result.

    One that fails leaves its traceback beside the results, and holds up no other.
    """
    file = file_of(out, unit)
    if file.exists() or (unit.enough is not None and _count(file.parent) >= unit.enough):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    begun = _processor_s()
    try:
        result = unit.do()
    except Exception:  # noqa: BLE001 - whatever it was
        file.with_suffix(".error").write_text(traceback.format_exc())
        return
    file.with_suffix(".error").unlink(missing_ok=True)
    row = {"cpu_s": round(_processor_s() - begun, 3), "result": result}
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(row))
    unfinished.rename(file)


def _count(folder: Path) -> int:
    return sum(row["result"] is not None for row in results_in(folder))


def _processor_s() -> float:
    """Of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def run_all(
    wanted: Sequence[Unit],
    out: Path,
    *,
    jobs: int,
    until_s: float,
    begin: Callable[[], None] = one_thread,
) -> bool:
    """Do units side by side; whether all were done before the time was up.

    Args:
        wanted: In the order in which they are begun.
        out: Their results.
        jobs: Processes.
        until_s: Seconds from now after which what is not done is broken off.
        begin: What each process does first.
    """
    deadline = time.monotonic() + until_s
    processes = multiprocessing.get_context("spawn")
    with processes.Pool(jobs, begin) as pool:  # broken off when the block ends
        ends = pool.imap_unordered(partial(finish, out=out), wanted)
        while (left := deadline - time.monotonic()) > 0:
            try:
                ends.next(timeout=left)
            except StopIteration:
                return True
            except multiprocessing.TimeoutError:
                break
    return False


def summary(wanted: Iterable[Unit], out: Path) -> str:
    """Markdown: of each part what is done and what it took."""
    lines = ["| part | units | done | failed | CPU minutes |", "|---|---|---|---|---|"]
    asked = Counter(unit.part for unit in wanted)
    for part, count in asked.items():
        rows: list[dict[str, Any]] = results_in(out / part)
        spent = sum(row["cpu_s"] for row in rows) / 60
        failed = len(list((out / part).glob("*.error")))
        lines.append(f"| {part} | {count} | {len(rows)} | {failed} | {spent:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, then run or merge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--until-s", type=float, default=float("inf"), help="time limit, seconds")
    parser.add_argument("--parts", nargs="*", help="only these; default: all")
    parser.add_argument("--merge", action="store_true", help="make tables of what there is")
    parser.add_argument("--into", type=Path, default=ROOT, help="where they are written")
    for name in ("seeds", "patience", "studies", "powered", "study-trials", "harm-seeds"):
        default = getattr(Size(), name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--strategies", nargs="*", default=Size().strategies)
    options = parser.parse_args()
    if options.merge:
        print(merge(options.out, options.into))
        return
    size = Size(
        seeds=options.seeds,
        patience=options.patience,
        studies=options.studies,
        powered=options.powered,
        study_trials=options.study_trials,
        harm_seeds=options.harm_seeds,
        strategies=options.strategies,
    )
    wanted = [unit for unit in units(size) if not options.parts or unit.part in options.parts]
    all_columns()  # made once, before any process reads them
    limit = min(options.until_s, 1e9)
    complete = run_all(wanted, options.out, jobs=options.jobs, until_s=limit)
    print(summary(wanted, options.out))
    print("complete" if complete else "broken off; the same command goes on with it")


if __name__ == "__main__":
    main()
