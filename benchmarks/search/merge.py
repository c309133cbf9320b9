"""Files of `everything.py` made into the results and tables of docs/search.md."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.search import harms, proposal_time
from benchmarks.search.problem import Problem
from benchmarks.search.results import filled, publish
from benchmarks.search.traces import Trace
from benchmarks.search.units import GAINS, JUDGED, SETS
from benchmarks.search.verdicts import Run, verdict_from, write_table

ROOT: Final = Path(__file__).resolve().parents[2]


def results_in(folder: Path) -> list[dict[str, Any]]:
    """What the units of a part left, by their names."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def merge(found: Path, root: Path = ROOT) -> str:
    """Write results and tables; every table that was made.

    Args:
        found: Folder of the units' files.
        root: Of the repository.
    """
    page = root / "docs" / "search.md"
    made = dict(_tables(found, root / "benchmarks" / "search" / "results"))
    text = page.read_text()
    for mark, table in made.items():
        text = filled(text, mark, table + "\n")
    page.write_text(text)
    return "\n\n".join(f"{mark}\n\n{table}" for mark, table in made.items())


def _tables(found: Path, results: Path) -> Iterable[tuple[str, str]]:
    """Mark and table of every part that has results."""
    results.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        rows = _results(found / f"traces-{name}")
        if rows:
            yield f"results {name}", publish([Trace(**r) for r in rows], results / name).rstrip()
    if _write_studies(found, results):
        yield "recommendations", write_table(results)
    answers = _results(found / "harms")
    if answers:
        yield "harms", harms_table(_written(answers, results / "harms.json"))
    spent = {file.stem: json.loads(file.read_text())["result"]
             for file in sorted((found / "proposal-time").glob("*.json"))}  # fmt: skip
    if spent:
        yield "proposal time", proposal_table(_written(spent, results / "proposal_time.json"))


def _results(folder: Path) -> list[Any]:
    return [row["result"] for row in results_in(folder) if row["result"] is not None]


def _written(what: Any, file: Path) -> Path:
    file.write_text(json.dumps(what, indent=1) + "\n")
    return file


def _write_studies(found: Path, results: Path) -> bool:
    """The first studies of each sort, as many as are told of; whether there are any."""
    some = False
    for name, gain in GAINS.items():
        rows = list(islice(_results(found / f"studies-{name}"), JUDGED))
        if rows:
            run = Run(
                name=name,
                trials=max(row["trials"] for row in rows),
                gain=gain,
                noise=Problem.noise_sd,
                verdicts=tuple(verdict_from(row["verdict"]) for row in rows),
            )
            run.write(results)
            some = True
    return some


def harms_table(file: Path) -> str:
    """Of the answers that are kept in a file."""
    return harms.table([harms.Answer(**row) for row in json.loads(file.read_text())])


def proposal_table(file: Path) -> str:
    """Of the times that are kept in a file."""
    rows = json.loads(file.read_text())
    return proposal_time.table({
        study: {int(count): spent for count, spent in counts.items()}
        for study, counts in rows.items()
    })  # fmt: skip
