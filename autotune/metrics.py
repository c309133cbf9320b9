"""Every metric, declared once: tag, unit, direction, formula, source.

Values are raw: nanoseconds, bytes, tokens. Only `autotune.report` converts for display, and the
metrics page of the documentation is generated from this list. `None` means "not measured".
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autotune.errors import SpecError


class Unit(StrEnum):
    """Units of raw metric values."""

    NS = "ns"
    BYTES = "bytes"
    TOKENS = "tokens"
    TOKENS_PER_S = "tokens/s"
    REQUESTS_PER_S = "requests/s"
    RATIO = "ratio"
    COUNT = "count"
    TOKENS_PER_GIB = "tokens/GiB"
    JOULES_PER_TOKEN = "J/token"  # noqa: S105 - a unit
    WATTS = "W"


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "maximize"
    LOWER = "minimize"
    NEITHER = "neither"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One declared metric.

    Attributes:
        tag: Its name everywhere: records, studies, tables. Ends in the unit.
        title: For people, a few words.
        probe: The probe that gives it.
        formula: How the value comes about.
        source: Where the formula or the field's usage is from.
    """

    tag: str
    title: str
    unit: Unit
    direction: Direction
    probe: str
    formula: str
    source: str = "autotune"


_BENCH = "vLLM benchmarks/serve.py"
_MLPERF = "MLPerf inference rules, LLM server scenario"


def _m(  # noqa: PLR0917 - a table row
    tag: str,
    title: str,
    unit: Unit,
    direction: Direction,
    probe: str,
    formula: str,
    source: str = "autotune",
) -> Metric:
    return Metric(
        tag=tag,
        title=title,
        unit=unit,
        direction=direction,
        probe=probe,
        formula=formula,
        source=source,
    )


_UP, _DOWN, _NEITHER = Direction.HIGHER, Direction.LOWER, Direction.NEITHER

_DECLARED: Final = (
    # Test 1
    _m("startup_ns", "Start-up", Unit.NS, _DOWN, "startup",
       "start of the process or container to the first 200 of the health path"),
    _m("startup_import_ns", "Imports", Unit.NS, _DOWN, "startup",
       "start to the engine's first line about itself"),
    _m("startup_weights_ns", "Weights", Unit.NS, _DOWN, "startup",
       "the engine's own figure for loading the model"),
    _m("startup_compile_ns", "Compilation", Unit.NS, _DOWN, "startup",
       "the engine's own figure for torch.compile"),
    _m("startup_graphs_ns", "Graph capture", Unit.NS, _DOWN, "startup",
       "the engine's own figure for capturing CUDA graphs"),
    # Test 2
    _m("ttft_short_ns", "TTFT, one short request", Unit.NS, _DOWN, "ttft",
       "median over the repeats of (first content-bearing chunk - sent)", _BENCH),
    _m("ttft_short_p95_ns", "TTFT p95, one short request", Unit.NS, _DOWN, "ttft",
       "95th percentile over the repeats", _BENCH),
    _m("itl_single_ns", "Inter-token latency, one request", Unit.NS, _DOWN, "ttft",
       "median gap between content-bearing chunks of one stream", _BENCH),
    # Test 3
    _m("output_tokens_per_s", "Output throughput", Unit.TOKENS_PER_S, _UP, "throughput",
       "output tokens by the server's usage / measured window", _BENCH),
    _m("total_tokens_per_s", "Total throughput", Unit.TOKENS_PER_S, _UP, "throughput",
       "(prompt + output tokens by the server's usage) / measured window", _BENCH),
    _m("requests_per_s", "Request throughput", Unit.REQUESTS_PER_S, _UP, "throughput",
       "requests, by the share of their output inside the window / measured window", _BENCH),
    _m("goodput_requests_per_s", "Goodput", Unit.REQUESTS_PER_S, _UP, "throughput",
       "request throughput of what kept the workload's SLO on TTFT and mean inter-token latency",
       "DistServe (arXiv 2401.09670); " + _BENCH),
    _m("ttft_loaded_p50_ns", "TTFT under load", Unit.NS, _DOWN, "throughput",
       "median TTFT of the completed requests", _BENCH),
    _m("ttft_loaded_p99_ns", "TTFT p99 under load", Unit.NS, _DOWN, "throughput",
       "99th percentile TTFT of the completed requests", _MLPERF),
    _m("itl_p50_ns", "Inter-token latency under load", Unit.NS, _DOWN, "throughput",
       "median gap between content-bearing chunks, all streams pooled", _BENCH),
    _m("itl_p99_ns", "Inter-token latency p99 under load", Unit.NS, _DOWN, "throughput",
       "99th percentile gap, all streams pooled", _BENCH),
    _m("tpot_p50_ns", "Time per output token under load", Unit.NS, _DOWN, "throughput",
       "median over requests of (end - first token) / (output tokens - 1)", _BENCH),
    _m("e2e_p50_ns", "Request latency under load", Unit.NS, _DOWN, "throughput",
       "median over requests of (end - sent)", _BENCH),
    _m("e2e_p99_ns", "Request latency p99 under load", Unit.NS, _DOWN, "throughput",
       "99th percentile over requests of (end - sent)", _BENCH),
    _m("failed_requests_count", "Failed requests", Unit.COUNT, _DOWN, "throughput",
       "requests that were refused, cut off, empty, too short or timed out"),
    _m("preemptions_count", "Preemptions", Unit.COUNT, _DOWN, "throughput",
       "growth of the engine's preemption counter over the probe", "vllm:num_preemptions_total"),
    _m("kv_usage_peak_ratio", "KV cache use, peak", Unit.RATIO, _NEITHER, "throughput",
       "largest sample of the engine's KV usage gauge", "vllm:kv_cache_usage_perc"),
    # Test 4
    *(
        metric
        for k in (8, 16, 32)
        for metric in (
            _m(f"ttft_{k}k_ns", f"TTFT at {k}K", Unit.NS, _DOWN, "long_context",
               f"median TTFT of one prompt of {k * 1024} tokens, cold prefix", _BENCH),
            _m(f"prefill_{k}k_tokens_per_s", f"Prefill at {k}K", Unit.TOKENS_PER_S, _UP,
               "long_context", "prompt tokens by the server's usage / TTFT"),
            _m(f"decode_{k}k_tokens_per_s", f"Decode at {k}K", Unit.TOKENS_PER_S, _UP,
               "long_context", "(output tokens - 1) / (end - first token)"),
        )
    ),
    _m("longest_prompt_tokens", "Longest prompt answered", Unit.TOKENS, _UP, "long_context",
       "the longest prompt of the ladder that was answered whole"),
    _m("context_capacity_tokens", "Context capacity", Unit.TOKENS, _UP, "startup",
       "tokens of context that the GPU's KV cache holds at once, as the engine reports it",
       "vLLM `GPU KV cache size`"),
    _m("max_model_len_tokens", "Longest request allowed", Unit.TOKENS, _UP, "startup",
       "the engine's own max_model_len, as it reports it", "GET /v1/models"),
    # Test 5
    _m("prefix_cold_ttft_ns", "TTFT, new prefix", Unit.NS, _DOWN, "prefix_cache",
       "median TTFT of prompts whose prefix was never seen"),
    _m("prefix_warm_ttft_ns", "TTFT, repeated prefix", Unit.NS, _DOWN, "prefix_cache",
       "median TTFT of prompts whose prefix has just been asked"),
    _m("prefix_speedup_ratio", "Prefix cache speed-up", Unit.RATIO, _UP, "prefix_cache",
       "cold TTFT / warm TTFT"),
    _m("prefix_hit_ratio", "Prefix hit rate, GPU", Unit.RATIO, _UP, "prefix_cache",
       "growth of hits / growth of queries over the warm requests",
       "vllm:prefix_cache_hits, vllm:prefix_cache_queries"),
    _m("revisit_cold_ttft_ns", "TTFT, documents first read", Unit.NS, _DOWN, "prefix_cache",
       "median TTFT of the first pass over documents that together exceed the GPU's KV cache"),
    _m("revisit_warm_ttft_ns", "TTFT, documents re-visited", Unit.NS, _DOWN, "prefix_cache",
       "median TTFT of the second pass over them"),
    _m("revisit_speedup_ratio", "Re-visit speed-up", Unit.RATIO, _UP, "prefix_cache",
       "first-pass TTFT / second-pass TTFT"),
    _m("revisit_gpu_hit_ratio", "Re-visit hit rate, GPU", Unit.RATIO, _UP, "prefix_cache",
       "growth of GPU prefix hits / growth of queries over the second pass"),
    _m("revisit_offload_hit_ratio", "Re-visit hit rate, offload", Unit.RATIO, _UP,
       "prefix_cache", "growth of external hits / growth of external queries",
       "vllm:external_prefix_cache_hits, vllm:external_prefix_cache_queries"),
    _m("revisit_cold_total_tokens_per_s", "First-read throughput", Unit.TOKENS_PER_S, _UP,
       "prefix_cache", "(prompt + output tokens) / window of the first pass"),
    _m("revisit_total_tokens_per_s", "Re-visit throughput", Unit.TOKENS_PER_S, _UP,
       "prefix_cache", "(prompt + output tokens) / window of the second pass"),
    _m("offload_hit_tokens_per_gib", "Offload hits per GiB", Unit.TOKENS_PER_GIB, _UP,
       "prefix_cache", "external hit tokens of the second pass / GiB of offload"),
    # Test 6
    _m("gpu_memory_peak_bytes", "GPU memory, peak", Unit.BYTES, _DOWN, "memory",
       "largest NVML `used` sample of the trial, whole device", "NVML"),
    _m("gpu_memory_steady_bytes", "GPU memory, steady", Unit.BYTES, _DOWN, "memory",
       "median NVML `used` sample while probes ran", "NVML"),
    _m("host_memory_peak_bytes", "Host memory, peak", Unit.BYTES, _DOWN, "memory",
       "largest sample of total - available, whole host, as `free` counts it", "psutil"),
    _m("host_memory_steady_bytes", "Host memory, steady", Unit.BYTES, _DOWN, "memory",
       "median sample of total - available while probes ran", "psutil"),
    _m("engine_memory_peak_bytes", "Engine's host memory, peak", Unit.BYTES, _DOWN, "memory",
       "largest sample of the engine's own memory: cgroup of its container, else PSS of its "
       "process tree", "cgroup memory.current, /proc/PID/smaps_rollup"),
    _m("shm_peak_bytes", "Shared memory, peak", Unit.BYTES, _DOWN, "memory",
       "largest sample of the bytes used in /dev/shm", "statvfs"),
    _m("gpu_power_mean_w", "GPU power, mean", Unit.WATTS, _DOWN, "memory",
       "mean NVML power sample while probes ran", "NVML"),
    _m("joules_per_output_token", "Energy per output token", Unit.JOULES_PER_TOKEN, _DOWN,
       "throughput", "NVML energy over the measured window / output tokens", "NVML"),
    # Correctness gate
    _m("perplexity_ratio", "Perplexity against baseline", Unit.RATIO, _DOWN, "correctness",
       "exp(mean baseline log-probability - mean log-probability) of fixed prompts, the worst "
       "length"),
    _m("logprob_deviation_ratio", "Log-probability deviation", Unit.RATIO, _DOWN, "correctness",
       "mean |baseline's - own log-probability| / mean |baseline's| of fixed prompts' tokens"),
    _m("greedy_agreement_ratio", "Greedy agreement with baseline", Unit.RATIO, _UP,
       "correctness", "mean share of the leading greedy tokens that equal the baseline's"),
    _m("needle_recall_ratio", "Needle recall", Unit.RATIO, _UP, "correctness",
       "needles recalled / needles asked for"),
    _m("degenerate_answers_count", "Degenerate answers", Unit.COUNT, _DOWN, "correctness",
       "answers that are empty, repeat themselves or hold control characters"),
    # Capacity
    _m("capacity_requests_per_s", "Capacity within the SLO", Unit.REQUESTS_PER_S, _UP,
       "capacity", "highest Poisson rate whose TTFT and inter-token latency keep the SLO",
       "goodput: DistServe (arXiv 2401.09670)"),
)  # fmt: skip

METRICS: Final = {metric.tag: metric for metric in _DECLARED}


def metric_named(tag: str) -> Metric:
    """The declaration of a tag.

    Raises:
        SpecError: If there is no such metric.
    """
    try:
        return METRICS[tag]
    except KeyError:
        message = f"there is no metric {tag!r}"
        raise SpecError(message, hint="`autotune metrics` lists them.") from None
