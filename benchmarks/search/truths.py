"""Tables of what a landscape's engine does in every cell, kept outside the repository.

A table's name carries a digest of what it was made from, the simulated engine's own source among
it, so that none outlives what it describes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.engines import simulated
from autotune.records import Configuration, Failure, FailureKind
from benchmarks.search.problem import Truth

Table = dict[Configuration, Truth]


def cache_folder() -> Path:
    """Where tables are kept: `$XDG_CACHE_HOME/autotune-benchmarks`, by default below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autotune-benchmarks"


def kept_table(name: str, inputs: Sequence[str], make: Callable[[], Table]) -> Table:
    """A table from disk, or made now and kept.

    Args:
        name: What it is called on disk.
        inputs: What decides its content, beside the engine's source.
        make: Works it out.
    """
    digest = hashlib.sha256("\n".join([_engine_source(), *inputs]).encode()).hexdigest()[:12]
    path = cache_folder() / f"{name}_{digest}.json"
    if not path.exists():
        rows = [_row(configuration, truth) for configuration, truth in make().items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(rows))
        unfinished.rename(path)
    return dict(map(_from_row, json.loads(path.read_text())))


def _engine_source() -> str:
    folder = Path(next(iter(simulated.__path__)))
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.py")))


def _row(configuration: Configuration, truth: Truth) -> list[Any]:
    failure = truth.failure
    told = None if failure is None else [failure.kind.value, failure.message, failure.margin_gib]
    return [configuration.values, truth.values, told, truth.headroom_gib]


def _from_row(row: Sequence[Any]) -> tuple[Configuration, Truth]:
    raw: Mapping[str, Any] = row[0]
    values, figures, told, headroom = raw, row[1], row[2], row[3]
    if told is not None:
        kind, message, margin = told
        failure = Failure(
            kind=FailureKind(kind), phase="starting", message=message, margin_gib=margin
        )
        return Configuration.of(values), Truth(failure=failure)
    throughput, ttft, context = figures
    truth = Truth(values=(throughput, ttft, context), headroom_gib=headroom)
    return Configuration.of(values), truth
