"""Reading vLLM's start-up log: where the time went, the memory ledger, what it runs with.

Every pattern is a fragment, for lines carry process tags from 0.10 on and colours on a terminal.
The spellings of each release are golden files (`tests/golden/data/vllm_logs/`),
read from the releases themselves. Numbers carry thousands commas; the log is cut in the middle
where it is long.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from autotune.records import MemoryLedger
from autotune.units import BYTES_PER_GIB, NS_PER_S, ns_from_s

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_LINE: Final = re.compile(
    r"^(?:\([^)\n]*\)\s*)*(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+"
    r"(?P<at>\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)\s+\[?[\w./-]+:\d+\]\s?(?P<text>.*)$",
    re.MULTILINE,
)
_NUMBER: Final = r"([\d,]+(?:\.\d+)?)"

_ENGINE_LINE: Final = re.compile(r"LLM engine \(v|vLLM API server version|vLLM server version")
_MODEL_SECONDS: Final = re.compile(
    rf"Model loading took {_NUMBER} GiB(?: memory)? and {_NUMBER} seconds"
)
_WEIGHT_SECONDS: Final = re.compile(rf"Loading weights took {_NUMBER} seconds")
_COMPILE_SECONDS: Final = re.compile(rf"torch\.compile (?:takes|took) {_NUMBER} s in total")
_GRAPHS: Final = re.compile(rf"Graph capturing finished in {_NUMBER} secs?, took (-?[\d.]+) GiB")

_MODEL_GIB: Final = re.compile(
    rf"(?:Model loading took {_NUMBER} GiB|Loading model weights took {_NUMBER} GB)"
)
_USAGE: Final = re.compile(
    rf"Actual usage is {_NUMBER} GiB for weight, {_NUMBER} GiB for peak activation, "
    r"(-?[\d.]+) GiB for non-torch memory, and (-?[\d.]+) GiB for CUDAGraph memory"
)
_USAGE_MERGED: Final = re.compile(
    rf"Actual usage is {_NUMBER} GiB for consumed memory \(weights \+ non-torch\), "
    rf"{_NUMBER} GiB for peak activation, and (-?[\d.]+) GiB for CUDAGraph memory"
)
_GRAPHS_ESTIMATE: Final = re.compile(rf"Estimated CUDA graph memory: {_NUMBER} GiB total")
_GRAPHS_BUDGETED: Final = "CUDA graph memory profiling is enabled"
_KV_GIB: Final = re.compile(r"Available KV cache memory: (-?[\d.,]+) GiB")
_KV_IN_USE: Final = re.compile(rf"Current kv cache memory in use is {_NUMBER} (GiB|bytes)")
_KV_RESERVED: Final = re.compile(rf"reserved {_NUMBER} ?GiB memory for KV Cache as specified")
_KV_ON_CPU: Final = re.compile(
    rf"(?:Explicitly|Auto) set \({_NUMBER}/{_NUMBER}\) GiB for KV cache on node"
)
_KV_TOKENS: Final = re.compile(r"KV cache size: ([\d,]+) tokens")
_V0_BLOCKS: Final = re.compile(r"# (?:GPU|cuda) blocks: ([\d,]+)")
_BLOCK_SIZE: Final = re.compile(r"block_size['\"]?[=:] ?(\d+)")
_V0_BLOCK_TOKENS: Final = 16


@dataclass(frozen=True)
class LogLine:
    """One line of vLLM's own logger."""

    level: str
    at: datetime
    text: str


def plain(log: str) -> str:
    """The log without terminal colours and carriage returns."""
    return _ANSI.sub("", log).replace("\r\n", "\n").replace("\r", "\n")


def log_lines(log: str) -> Iterator[LogLine]:
    """Lines of vLLM's logger, its process tags taken off; the year is arbitrary."""
    for found in _LINE.finditer(plain(log)):
        stamp = found["at"].partition(".")[0]
        try:
            at = datetime.strptime(f"2000-{stamp} +0000", "%Y-%m-%d %H:%M:%S %z")
        except ValueError:  # digits that are no date: not a logger's line
            continue
        yield LogLine(found["level"], at, found["text"])


def milestones(log: str) -> Mapping[str, int]:
    """Start-up split by the engine's own figures, in nanoseconds.

    Keys: `startup_import_ns` from the logger's first line to the engine's first line about itself
    (one-second grain, absent where the two are the same line), `startup_weights_ns`,
    `startup_compile_ns`, `startup_graphs_ns`. What the log does not say is absent. Where several
    workers report, the slowest counts.
    """
    text = plain(log)
    figures = {
        "startup_import_ns": _import_ns(log),
        "startup_weights_ns": _slowest_ns(_MODEL_SECONDS, text, 2)
        or _slowest_ns(_WEIGHT_SECONDS, text),
        "startup_compile_ns": _slowest_ns(_COMPILE_SECONDS, text),
        "startup_graphs_ns": _slowest_ns(_GRAPHS, text),
    }
    return {tag: value for tag, value in figures.items() if value is not None}


def _import_ns(log: str) -> int | None:
    first: datetime | None = None
    for line in log_lines(log):
        if _ENGINE_LINE.search(line.text):
            if first is None or line.at == first:
                return None
            waited = line.at - first
            if waited < timedelta(0):  # New Year's Eve: the logger's stamps carry no year
                waited += timedelta(days=366)
            return round(waited.total_seconds()) * NS_PER_S
        first = first or line.at
    return None


def _slowest_ns(pattern: re.Pattern[str], text: str, group: int = 1) -> int | None:
    read = (number(found[group]) for found in pattern.finditer(text))
    seconds = [value for value in read if value is not None]
    return ns_from_s(max(seconds)) if seconds else None


def ledger(log: str) -> MemoryLedger:
    """The engine's own account of its GPU memory.

    From 0.20.0 the peak activation that the usage line states contains the estimate of the CUDA
    graphs (`v1/worker/gpu_worker.py`), and 0.28.0 joins weights and non-torch memory into one
    figure; both are taken apart again here.
    """
    text = plain(log)
    weights = _last(_MODEL_GIB, text)
    graphs = _last(_GRAPHS, text, 2)
    estimate = _last(_GRAPHS_ESTIMATE, text)
    activation = non_torch = None
    if usage := _last_match(_USAGE, text):
        weights, activation, non_torch, graphs = (number(usage[i]) for i in range(1, 5))
    elif usage := _last_match(_USAGE_MERGED, text):
        consumed, activation, graphs = (number(usage[i]) for i in range(1, 4))
        if weights is not None and consumed is not None:
            non_torch = round(max(consumed - weights, 0.0), 4)
    if activation is not None and estimate is not None and _GRAPHS_BUDGETED in text:
        activation = round(max(activation - estimate, 0.0), 4)
    return MemoryLedger(
        weights_gib=weights,
        activation_gib=activation,
        non_torch_gib=non_torch,
        graphs_gib=estimate if graphs is None else graphs,
        kv_cache_gib=_kv_gib(text),
        kv_cache_tokens=kv_cache_tokens(text),
    )


def kv_cache_tokens(log: str) -> int | None:
    """Tokens that the KV cache holds, by the engine's last word on it; None where unsaid.

    V0 engines (to 0.10.2) count blocks; their size is 16 unless the arguments say otherwise.
    """
    text = plain(log)
    tokens = _last(_KV_TOKENS, text)
    if tokens is not None:
        return int(tokens)
    blocks = _last(_V0_BLOCKS, text)
    if blocks is None:
        return None
    size = _last(_BLOCK_SIZE, text)
    return int(blocks) * (_V0_BLOCK_TOKENS if size is None else int(size))


def graphs_are_budgeted(log: str) -> bool:
    """Whether the engine took CUDA graphs out of the KV cache's share (0.18.0 on request)."""
    return _GRAPHS_BUDGETED in log


def _kv_gib(text: str) -> float | None:
    available = _last(_KV_GIB, text)
    if available is not None:
        return available
    if found := _last_match(_KV_IN_USE, text):
        value = number(found[1])
        return value if value is None or found[2] == "GiB" else round(value / BYTES_PER_GIB, 4)
    reserved = _last(_KV_RESERVED, text)
    return _last(_KV_ON_CPU, text, 1) if reserved is None else reserved


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return found


def _last(pattern: re.Pattern[str], text: str, group: int | None = None) -> float | None:
    """Number of the last match: of the given group, else of the first that took part."""
    found = _last_match(pattern, text)
    if found is None:
        return None
    value = found[group] if group else next(g for g in found.groups() if g is not None)
    return number(value)


def number(text: str) -> float | None:
    """A number as engines print it, commas between thousands; None if it is garbled."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:  # "1.2.3": two writers, one line
        return None
    return value if math.isfinite(value) else None
