"""The tables of docs/results/2026-11-26-h100-second/README.md, made of the records beside it.

    python -m benchmarks.gpu.second_page [--check]

Writes each table between its two marks in the page; with --check only says whether the page is
what the records give.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Final

from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.store import TrialStore
from benchmarks.gpu.in_turn import mean_ratio, read, table
from benchmarks.gpu.markdown import DASH, markdown
from benchmarks.gpu.page import outcome, seconds, write_or_check

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "results" / "2026-11-26-h100-second"
PAGE: Final = FOLDER / "README.md"
AWQ: Final = ("small-card-awq", "small-card-awq-20k")
SIDE_BY_SIDE: Final = ("hopper-0.5b", "hopper-1.5b", "second-machine/hopper-1.5b")
_NOT_ALONE: Final = ("gpu_memory_peak_bytes", "host_memory_peak_bytes")  # neighbours' too
WARM_BELOW_NS: Final = 12e9
"""torch.compile above this compiled; below it, it loaded what lay in the cache."""

# metric -> head, divisor to the unit, format
_SHOWN: Final[Mapping[str, tuple[str, float, str]]] = {
    "output_tokens_per_s": ("out tok/s", 1.0, ",.0f"),
    "ttft_short_ns": ("TTFT short ms", 1e6, ".1f"),
    "ttft_loaded_p50_ns": ("TTFT loaded p50 ms", 1e6, ".0f"),
    "tpot_p50_ns": ("TPOT p50 ms", 1e6, ".2f"),
    "itl_p50_ns": ("ITL p50 ms", 1e6, ".2f"),
    "itl_single_ns": ("ITL single ms", 1e6, ".2f"),
    "ttft_8k_ns": ("TTFT 8K ms", 1e6, ".0f"),
    "ttft_16k_ns": ("TTFT 16K ms", 1e6, ".0f"),
    "ttft_32k_ns": ("TTFT 32K ms", 1e6, ".0f"),
    "context_capacity_tokens": ("KV tokens", 1.0, ",.0f"),
    "gpu_memory_peak_bytes": ("GPU peak GiB", 2.0**30, ".2f"),
    "host_memory_peak_bytes": ("host peak GiB", 2.0**30, ".1f"),
}
_STARTUP: Final = {
    "startup_ns": "until healthy",
    "startup_import_ns": "imports",
    "startup_weights_ns": "weights",
    "startup_compile_ns": "torch.compile",
    "startup_graphs_ns": "CUDA graphs",
}


def records_of(study: str, root: Path = FOLDER) -> tuple[TrialRecord, ...]:
    """A study's records, by number."""
    return TrialStore(StudyPaths(root / study)).records()


def measured(study: str, *, left_out: tuple[str, ...] = ()) -> str:
    """Every trial of a study with its main metrics."""
    rows = [
        (record.label, outcome(record), *(_figure(record, tag) for tag in shown))
        for record in records_of(study)
        for shown in ([tag for tag in _SHOWN if tag not in left_out],)
    ]
    heads = [head for tag, (head, _, _) in _SHOWN.items() if tag not in left_out]
    return markdown(("trial", "outcome", *heads), rows)


def reasons() -> str:
    """Why cells of the matrix have no figure, in autotune's own words."""
    rows = [
        (study, record.label, failure.kind.value, failure.message)
        for study in AWQ
        for record in records_of(study)
        if (failure := record.outcome.failure) is not None
    ]
    return markdown(("study", "cell", "called", "because"), rows)


def machines() -> str:
    """What ran on what."""
    rows = []
    for study in (*AWQ, *SIDE_BY_SIDE):
        records = records_of(study)
        told = next(r.environment for r in records if "gpu" in r.environment)
        rows.append((
            study, told["model"], told["gpu"], told["gpu_uuid"][:12], told["gpu_driver"],
            f"{told['engine']} {told['engine_release']}", min(r.wall_start for r in records)[:16],
        ))  # fmt: skip
    heads = ("study", "shape", "card", "its UUID", "driver", "engine", "first trial, UTC")
    return markdown(heads, rows)


def in_turn(against: str) -> str:
    """Three servers of one machine, measured in turn."""
    return "\n".join(table(read(FOLDER / "in-turn.jsonl"), against))


def agreement() -> str:
    """Pairs of two runs of agree_with_vllm on one machine, and the mean of their ratios."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for run in (1, 2)
        for line in (FOLDER / f"agree-{run}.md").read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d", line)
    ]
    rows = [[str(number), *row[1:]] for number, row in enumerate(rows, 1)]
    rates = mean_ratio([float(row[3]) for row in rows])
    ttfts = mean_ratio([float(row[6]) for row in rows])
    rows.append(["all", "", "", rates, "", "", ttfts, ""])
    heads = ("pair", "tokens/s, ours", "theirs", "ratio", "TTFT p50, ours, ms", "theirs", "ratio",
             "tokens")  # fmt: skip
    return markdown(heads, rows)


def startup() -> str:
    """Seconds of every start by phase; the side-by-side ones waited for each other."""
    rows = []
    for study in AWQ:
        for record in records_of(study):
            if record.metrics.get("startup_ns"):
                spent = (seconds(record.metrics.get(tag)) for tag in _STARTUP)
                rows.append((study, record.label, *spent))
    return markdown(("study", "trial", *_STARTUP.values()), rows)


def caching() -> str:
    """What compiled graphs in the cache saved, over both days' studies that ran as a user's do."""
    records = [*records_of("small-card-study", FOLDER.parent / "2026-11-26-h100")]
    rows = []
    for name, found in (("small-card-study", records), *((s, [*records_of(s)]) for s in AWQ)):
        spent = [r.metrics.get("startup_compile_ns") or 0.0 for r in found]
        cold = [ns for ns in spent if ns >= WARM_BELOW_NS]
        warm = [ns for ns in spent if 0 < ns < WARM_BELOW_NS]
        saved = (median(cold) - median(warm)) * len(warm) if cold and warm else None
        rows.append((
            name, str(len(cold)), seconds(median(cold) if cold else None), str(len(warm)),
            seconds(median(warm) if warm else None), seconds(saved),
        ))  # fmt: skip
    heads = ("study", "starts that compiled", "median s", "starts that loaded", "median s",
             "saved in all, s")  # fmt: skip
    return markdown(heads, rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "machines": machines,
    "awq": lambda: measured("small-card-awq"),
    "awq-20k": lambda: measured("small-card-awq-20k", left_out=("ttft_32k_ns",)),
    "reasons": reasons,
    "in-turn-default": lambda: in_turn("default"),
    "in-turn-max": lambda: in_turn("max-32"),
    "agreement": agreement,
    **{
        name: (
            lambda n=name: measured(n, left_out=("gpu_memory_peak_bytes", "host_memory_peak_bytes"))
        )
        for name in SIDE_BY_SIDE
    },
    "startup": startup,
    "caching": caching,
}


def _figure(record: TrialRecord, tag: str) -> str:
    value = record.metrics.get(tag)
    _, divisor, form = _SHOWN[tag]
    return DASH if value is None else format(value / divisor, form)


if __name__ == "__main__":
    write_or_check(PAGE, TABLES, __doc__)
