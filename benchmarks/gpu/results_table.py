"""The tables of docs/results/README.md, made of the records and of the files beside them.

    python -m benchmarks.gpu.results_table [--check]

Writes each table between its two marks in the README; with --check only says whether the page
is what the records give.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from autotune.records import OutcomeStatus, TrialRecord
from benchmarks.gpu import error_tables, in_turn_table
from benchmarks.gpu.markdown import DASH, markdown
from benchmarks.gpu.page import outcome, seconds, write_or_check
from benchmarks.gpu.published import RESULTS, STUDIES, records_of

PAGE: Final = RESULTS.parent / "README.md"
_SIDE_BY_SIDE: Final = ("hopper-1.5b", "hopper-7b")

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
    "decode_32k_tokens_per_s": ("decode at 32K tok/s", 1.0, ".0f"),
    "context_capacity_tokens": ("KV tokens", 1.0, ",.0f"),
    "preemptions_count": ("preempted", 1.0, ",.0f"),
}
_EFFECTS: Final = (
    "output_tokens_per_s",
    "ttft_short_ns",
    "tpot_p50_ns",
    "itl_single_ns",
    "ttft_8k_ns",
    "ttft_16k_ns",
    "ttft_32k_ns",
    "decode_32k_tokens_per_s",
)
_STARTUP: Final = (
    ("startup_ns", "until healthy"),
    ("startup_import_ns", "imports"),
    ("startup_weights_ns", "weights"),
    ("startup_compile_ns", "torch.compile"),
    ("startup_graphs_ns", "CUDA graphs"),
)


def machines() -> str:
    """What ran on what."""
    rows = []
    for study in STUDIES:
        records = records_of(study)
        told = next(r.environment for r in records if "gpu" in r.environment)
        gib = {key: int(told[key]) / 2**30 for key in ("gpu_memory_bytes", "host_memory_bytes")}
        measured = sum(r.outcome.status is OutcomeStatus.MEASURED for r in records)
        rows.append(
            (
                study,
                told["model"],
                told["gpu"],
                f"{gib['gpu_memory_bytes']:.1f} GiB",
                told["gpu_driver"],
                f"{told['host_cpu_count']} cores, {gib['host_memory_bytes']:.0f} GiB",
                f"{told['engine']} {told['engine_release']}",
                f"{measured} of {len(records)}",
                f"{min(r.wall_start for r in records)[:16]} UTC",
            )
        )
    heads = ("study", "shape", "card", "its memory", "driver", "host", "engine", "measured",
             "first trial")  # fmt: skip
    return markdown(heads, rows)


def measured(study: str) -> str:
    """Every trial of a study with its main metrics."""
    rows = [
        (_label(r), outcome(r), *(_figure(r.metrics, metric) for metric in _SHOWN))
        for r in records_of(study)
    ]
    return markdown(("trial", "outcome", *(head for head, _, _ in _SHOWN.values())), rows)


def effects(study: str) -> str:
    """What each setting changed against the study's base."""
    records = records_of(study)
    base = next(r for r in records if r.label == "base")
    rows = []
    for record in records:
        if record is not base:
            changes = (_change(record.metrics, base.metrics, metric) for metric in _EFFECTS)
            rows.append((_label(record), *changes))
    return markdown(("setting", *(_SHOWN[m][0].rpartition(" ")[0] for m in _EFFECTS)), rows)


def repeats() -> str:
    """The same configuration of the 1.5B shape, three times: what noise is."""
    first = next(r for r in records_of("hopper-1.5b") if r.label == "base")
    others = [r for r in records_of("small-card") if r.label in {"baseline", "A"}]
    rows = []
    for metric in ("output_tokens_per_s", *_SHOWN):
        values = [r.metrics.get(metric) for r in (first, *others)]
        if metric in {"context_capacity_tokens", "preemptions_count"} or None in values:
            continue
        known = [v for v in values if v is not None]
        row = (_SHOWN[metric][0], *(_figure(r.metrics, metric) for r in (first, *others)),
               f"{max(known) / min(known) - 1:.0%}")  # fmt: skip
        if row not in rows:
            rows.append(row)
    heads = ("metric", "hopper-1.5b base", "small-card baseline", "small-card A", "highest/lowest")
    return markdown(heads, rows)


def startup() -> str:
    """Seconds of every start by phase, as the engine's log tells them."""
    rows = []
    for study in STUDIES:
        for record in records_of(study):
            if record.metrics.get("startup_ns"):
                spent = (seconds(record.metrics.get(metric)) for metric, _ in _STARTUP)
                rows.append((study, _label(record), *spent))
    return markdown(("study", "trial", *(head for _, head in _STARTUP)), rows)


def cost() -> str:
    """Seconds of card time per trial, by phase."""
    phases = ("starting", "probe:ttft", "probe:throughput", "probe:long_context",
              "probe:prefix_cache", "stopping", "waiting_for_memory")  # fmt: skip
    rows: list[Sequence[str]] = []
    for record in records_of("small-card"):
        spent = {p.name: (p.end_ns - p.start_ns) / 1e9 for p in record.phases}
        if spent:
            total = sum(spent.values())
            parts = (f"{spent[p]:.1f}" if p in spent else DASH for p in phases)
            rows.append(("small-card", _label(record), *parts, f"{total:.0f}"))
    for study in _SIDE_BY_SIDE:
        for name, wall_s, count in _groups(study):
            rows.append((study, name, *(DASH for _ in phases), f"{wall_s / count:.0f}"))
    return markdown(("study", "trial", *phases, "in all"), rows)


def matrix() -> str:
    """As `autotune matrix` printed it."""
    return (RESULTS / "small-card" / "matrix.md").read_text(encoding="utf-8").strip()


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "machines": machines,
    "hopper-7b": lambda: measured("hopper-7b"),
    "hopper-1.5b": lambda: measured("hopper-1.5b"),
    "small-card": lambda: measured("small-card"),
    "effects-7b": lambda: effects("hopper-7b"),
    "effects-1.5b": lambda: effects("hopper-1.5b"),
    "repeats": repeats,
    "matrix": matrix,
    "startup": startup,
    "cost": cost,
    "unseen": error_tables.unseen,
    "unseen-trials": error_tables.unseen_trials,
    "ahead": error_tables.ahead,
    "ahead-trials": error_tables.ahead_trials,
    "errors": error_tables.errors,
    "shapes": error_tables.shapes,
    "machines-left-out": error_tables.on_machines,
    "flashinfer-trials": error_tables.flashinfer_trials,
    "in-turn": in_turn_table.in_turn,
    "signs": error_tables.signs,
    "parameters": error_tables.parameters,
}


def _groups(study: str) -> list[tuple[str, float, int]]:
    """Each group that was started together: its labels, wall seconds, and number."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records_of(study):
        started = record.wall_start[:16]  # servers of one group are started within a minute
        groups.setdefault(started, []).append(record)
    found = []
    for members in groups.values():
        last = max(members, key=lambda r: r.metrics.get("startup_ns") or 0.0)
        measuring = sum(p.end_ns - p.start_ns for p in last.phases)
        wall_ns = (last.metrics.get("startup_ns") or 0.0) + measuring
        found.append((", ".join(_label(r) for r in members), wall_ns / 1e9, len(members)))
    return found


def _label(record: TrialRecord) -> str:
    return record.label or str(record.number)


def _figure(metrics: Mapping[str, float | None], metric: str) -> str:
    value = metrics.get(metric)
    _, divisor, form = _SHOWN[metric]
    return DASH if value is None else format(value / divisor, form)


def _change(
    metrics: Mapping[str, float | None], base: Mapping[str, float | None], metric: str
) -> str:
    value, against = metrics.get(metric), base.get(metric)
    return DASH if value is None or not against else f"{value / against - 1:+.0%}"


if __name__ == "__main__":
    write_or_check(PAGE, TABLES, __doc__)
