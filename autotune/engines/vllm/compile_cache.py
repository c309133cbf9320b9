"""Whether a start will find its compiled graphs, as far as that can be known before.

A start that does not compiles, and has less memory for its KV cache (`memory_terms.py`).
"""

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
        "async_scheduling",
        "stream_interval",
        "scheduling_policy",
    }
)
"""Settings that leave the key of the compile cache as it is (`compute_hash` of config/cache.py and
config/scheduler.py, 0.12.0 to 0.33.0; the KV bytes from 0.26.0 on). Whatever else differs is taken
to change it."""

Key = tuple[str, str, frozenset[tuple[str, object]]]


class CompileCache:
    """Graphs that the trials of a study have compiled, against those that lie in the cache."""

    def __init__(self) -> None:
        self._compiled: set[Key] = set()
        self._entries: dict[Path, int | None] = {}

    def learn(self, record: TrialRecord) -> None:
        """A start that came as far as its compiled graphs has left them in the cache."""
        self._entries.clear()
        if record.metrics.get("startup_compile_ns") is None:
            return
        found = record.environment
        model, release = found.get("model", ""), found.get("engine_release", "")
        self._compiled.add((release, model, _compiled_for(record.configuration)))

    def state(self, configuration: Configuration, context: LaunchContext) -> State:
        """What a start will meet.

        "unknown" where another study or another program may have filled the cache.
        """
        if context.cache_dir is None:
            return "unknown"
        entries = self._in_cache(context.cache_dir)
        if entries == 0:
            return "cold"
        if entries is None or entries < len(self._compiled):
            return "unknown"
        release, model = context.capabilities.release, context.model.name
        if (release, model, _compiled_for(configuration)) in self._compiled:
            return "warm"
        return "cold" if entries == len(self._compiled) else "unknown"

    def _in_cache(self, folder: Path) -> int | None:
        """Graphs in a cache, looked at once between two trials; None where it cannot be read."""
        if folder not in self._entries:
            self._entries[folder] = _entries(folder / "vllm" / "torch_compile_cache")
        return self._entries[folder]


def is_cold(record: TrialRecord) -> bool:
    """Whether a start compiled."""
    return (record.metrics.get("startup_compile_ns") or 0) > COLD_COMPILE_NS


def _compiled_for(configuration: Configuration) -> frozenset[tuple[str, object]]:
    return frozenset(item for item in configuration.items if item[0] not in NOT_IN_KEY)


def _entries(folder: Path) -> int | None:
    """One folder for each key (compilation/backends.py), beside that of ahead-of-time artefacts."""
    try:
        return sum(1 for f in folder.iterdir() if f.is_dir() and f.name != "torch_aot_compile")
    except FileNotFoundError:
        return 0
    except OSError:
        return None
