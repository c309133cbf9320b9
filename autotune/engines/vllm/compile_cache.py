"""Whether a start will find its compiled graphs, as far as that can be known before.

A start that does not compiles, and has less memory for its KV cache (`memory_terms.py`).
"""

import re
from pathlib import Path
from typing import Final, Literal

from autotune.records import Configuration, TrialRecord
from autotune.seams.engine import LaunchContext

State = Literal["warm", "cold", "unknown"]

COLD_COMPILE_NS: Final = 12_000_000_000
"""A longer torch.compile met an empty cache: 15 to 54 s in 20 logs, 0.8 to 9.3 s where it was
loaded."""

NOT_IN_KEY: Final = frozenset(
    {
        "gpu_memory_utilization",
        "kv_cache_memory_gib",
        "kv_cache_memory_bytes",
        "enable_prefix_caching",
        "stream_interval",
        "scheduling_policy",
    }
)
"""Settings that leave the key of the compile cache as it is (`compute_hash` of config/cache.py and
config/scheduler.py, 0.12.0 to 0.33.0; the KV bytes from 0.26.0 on). Whatever else differs is taken
to change it: async scheduling does, by way of config/parallel.py
(`disable_nccl_for_dp_synchronization`; two studies of 0.26.0)."""

GRAPH_FILE: Final = "computation_graph.py"
"""What was compiled, as text, beside the artefacts (compilation/backends.py, 0.11.2 to 0.32.0)."""

_GRAPH_CHARS: Final = 65_536
"""The arguments of the whole graph come first, the embedding among them."""

_LAST_SIZE: Final = re.compile(r'"\w+\[(?:[^\]"]*, )?(\d+)\]"')
"""The last size of a tensor: `weight_: "bf16[152064, 3584]"`."""

Key = tuple[str, str, frozenset[tuple[str, object]]]


class CompileCache:
    """Graphs that the trials of a study have compiled, against those that lie in the cache."""

    def __init__(self) -> None:
        self._compiled: set[Key] = set()
        self._entries: dict[tuple[Path, int], int | None] = {}
        self._sizes: dict[Path, frozenset[int]] = {}

    def learn(self, record: TrialRecord) -> None:
        """A start that came as far as its compiled graphs has left them in the cache."""
        self._entries.clear()
        if not _has_compiled(record):
            return
        found = record.environment
        model, release = found.get("model", ""), found.get("engine_release", "")
        self._compiled.add((release, model, _compiled_for(record.configuration)))

    def state(self, configuration: Configuration, context: LaunchContext, *, hidden: int) -> State:
        """What a start of a model with a residual stream of that width will meet.

        "unknown" where another study of such a model, or another program, may have filled the
        cache.
        """
        if context.cache_dir is None:
            return "unknown"
        entries = self._in_cache(context.cache_dir, hidden)
        if entries == 0:
            return "cold"
        if entries is None or entries < len(self._compiled):
            return "unknown"
        release, model = context.capabilities.release, context.model.name
        if (release, model, _compiled_for(configuration)) in self._compiled:
            return "warm"
        return "cold" if entries == len(self._compiled) else "unknown"

    def _in_cache(self, folder: Path, hidden: int) -> int | None:
        """Graphs in a cache that may be such a model's; None where it cannot be read.

        Looked at once between two trials.
        """
        key = (folder, hidden)
        if key not in self._entries:
            try:
                entries = _entries(folder / "vllm" / "torch_compile_cache")
                self._entries[key] = sum(self._may_be(entry, hidden) for entry in entries)
            except OSError:
                self._entries[key] = None
        return self._entries[key]

    def _may_be(self, entry: Path, hidden: int) -> bool:
        """Whether an entry may be of a model of that width: its graph says so, or nothing."""
        if entry not in self._sizes:
            sizes = _sizes(entry)
            if not sizes:
                return True  # a graph that is still to be written, or is written otherwise
            self._sizes[entry] = sizes
        return hidden in self._sizes[entry]


def is_cold(record: TrialRecord) -> bool:
    """Whether a start compiled: by its log, else by what was known before."""
    seconds = record.metrics.get("startup_compile_ns")
    if seconds is None and _failed_with_kv_memory(record):
        return "kv_cold_bytes" in record.predicted
    return (seconds or 0) > COLD_COMPILE_NS


def _has_compiled(record: TrialRecord) -> bool:
    """Whether a start came as far as its graphs: memory is profiled with them.

    What a start that failed later took for them is not measured.
    """
    if record.metrics.get("startup_compile_ns") is not None:
        return True
    eager = record.configuration.get("enforce_eager") or "--enforce-eager" in record.command
    return _failed_with_kv_memory(record) and not eager


def _failed_with_kv_memory(record: TrialRecord) -> bool:
    failure, ledger = record.outcome.failure, record.ledger
    at_start = failure is not None and failure.phase == "starting"
    return at_start and ledger is not None and ledger.kv_cache_gib is not None


def _compiled_for(configuration: Configuration) -> frozenset[tuple[str, object]]:
    return frozenset(item for item in configuration.items if item[0] not in NOT_IN_KEY)


def _entries(folder: Path) -> list[Path]:
    """One folder for each key (compilation/backends.py), beside that of ahead-of-time artefacts."""
    try:
        return [f for f in folder.iterdir() if f.is_dir() and f.name != "torch_aot_compile"]
    except FileNotFoundError:
        return []


def _sizes(entry: Path) -> frozenset[int]:
    """Last sizes of the tensors of an entry's graphs: one folder for each rank, then each part."""
    found: set[int] = set()
    for file in (*entry.glob(f"*/{GRAPH_FILE}"), *entry.glob(f"*/*/{GRAPH_FILE}")):
        try:
            with file.open(encoding="utf-8", errors="replace") as graph:
                found |= {int(size) for size in _LAST_SIZE.findall(graph.read(_GRAPH_CHARS))}
        except OSError:
            return frozenset()
    return frozenset(found)
