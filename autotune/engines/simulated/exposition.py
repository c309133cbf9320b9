"""/metrics and /server_info of a simulated server, with vLLM's names for its release.

Names and ranges: `v1/metrics/loggers.py`, `engine/metrics.py` (V0), and the KV connector's
`metrics.py` in the releases 0.8.5 to 0.33.0.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from autotune.engines.simulated.core import EngineCore
from autotune.engines.simulated.memory_plan import MemoryPlan
from autotune.engines.simulated.settings import GraphMode, ServeSettings

OWNER: Final = "autotune simulate"
"""Of its model, where vLLM says "vllm": by this a client can tell that the answers are made up."""


def metrics_text(settings: ServeSettings, plan: MemoryPlan, core: EngineCore) -> str:
    """The whole page, in Prometheus's text format."""
    labels = f'{{engine="0",model_name="{settings.served_name}"}}'
    if not settings.v1:
        labels = f'{{model_name="{settings.served_name}"}}'
    lines: list[str] = []
    for kind, name, value in _samples(settings, plan, core):
        lines += (
            f"# HELP {name} As vLLM {settings.release.name} calls it.",
            f"# TYPE {name} {kind}",
            f"{name}{labels} {value}",
        )
    if settings.v1:
        lines += _cache_config(settings, plan)
    return "\n".join(lines) + "\n"


def _samples(
    settings: ServeSettings, plan: MemoryPlan, core: EngineCore
) -> Iterator[tuple[str, str, float]]:
    release, scheduler = settings.release, core.scheduler
    counters = scheduler.counters
    yield "gauge", "vllm:num_requests_running", float(len(scheduler.running))
    waiting = len(scheduler.waiting) + len(scheduler.loading)
    yield "gauge", "vllm:num_requests_waiting", float(waiting)
    usage = core.kv_usage_ratio()
    if release.since(0, 9, 2) and settings.v1:
        yield "gauge", "vllm:kv_cache_usage_perc", usage
    if not release.since(0, 11):
        yield "gauge", "vllm:gpu_cache_usage_perc", usage
    yield "counter", "vllm:num_preemptions_total", float(counters.preemptions)
    yield "counter", "vllm:prompt_tokens_total", float(counters.prompt_tokens)
    yield "counter", "vllm:generation_tokens_total", float(core.generation_tokens())
    yield "counter", "vllm:request_success_total", float(counters.finished)
    queries, hits = counters.prefix_queries_tokens, counters.prefix_hits_tokens
    if settings.v1:
        if release.since(0, 9, 2):
            yield "counter", "vllm:prefix_cache_queries_total", float(queries)
            yield "counter", "vllm:prefix_cache_hits_total", float(hits)
        if not release.since(0, 12):
            yield "counter", "vllm:gpu_prefix_cache_queries_total", float(queries)
            yield "counter", "vllm:gpu_prefix_cache_hits_total", float(hits)
    if release.since(0, 11, 1) and (scheduler.tier is not None or release.since(0, 12)):
        asked = float(counters.offload_queries_tokens)
        yield "counter", "vllm:external_prefix_cache_queries_total", asked
        found = float(counters.offload_hits_tokens)
        yield "counter", "vllm:external_prefix_cache_hits_total", found
    if scheduler.tier is not None and release.since(0, 24):
        used = scheduler.tier.used_blocks / max(1, scheduler.tier.total)
        yield "gauge", "vllm:kv_offload_cpu_cache_usage_perc", used
        loads = float(counters.offload_loads_blocks * plan.block_bytes)
        yield "counter", "vllm:kv_offload_load_bytes_total", loads
        stores = float(counters.offload_stores_blocks * plan.block_bytes)
        yield "counter", "vllm:kv_offload_store_bytes_total", stores


def _cache_config(settings: ServeSettings, plan: MemoryPlan) -> list[str]:
    """`vllm:cache_config_info`: every attribute of CacheConfig as a label."""
    release = settings.release
    values: dict[str, object] = {
        "block_size": settings.block_size,
        "cache_dtype": settings.kv_cache_dtype,
        "enable_prefix_caching": settings.prefix_caching,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "num_gpu_blocks": plan.blocks,
        "num_cpu_blocks": None,
        "swap_space": 4 if not release.since(0, 18) else None,
    }
    if release.since(0, 10, 2):
        values["kv_cache_memory_bytes"] = settings.kv_cache_memory_bytes
    if release.since(0, 11, 1):
        size = settings.offload_bytes / 2**30
        values["kv_offloading_size"] = size or None
        values["kv_offloading_backend"] = "native" if size or release.since(0, 14) else None
    if release.since(0, 24):
        values["kv_cache_size_tokens"] = plan.kv_tokens
        per_request = -(-plan.max_model_len // settings.block_size)
        values["kv_cache_max_concurrency"] = plan.blocks / per_request
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(values.items()))
    return [
        "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig",
        "# TYPE vllm:cache_config_info gauge",
        f'vllm:cache_config_info{{engine="0",{labels}}} 1.0',
    ]


def models_json(settings: ServeSettings, plan: MemoryPlan) -> str:
    """GET /v1/models."""
    entry = {
        "id": settings.served_name,
        "object": "model",
        "owned_by": OWNER,
        "root": settings.model,
        "max_model_len": plan.max_model_len,
    }
    return json.dumps({"object": "list", "data": [entry]})


def server_info_json(settings: ServeSettings, plan: MemoryPlan, *, as_json: bool) -> str:
    """GET /server_info: the resolved configuration (development mode)."""
    config = resolved_config(settings, plan)
    if as_json and settings.release.since(0, 11):
        return json.dumps({"vllm_config": config})
    parts = [part for part in config.values() if isinstance(part, dict)]
    flat = ", ".join(f"{k}={v!r}" for part in parts for k, v in part.items())
    return json.dumps({"vllm_config": flat})


def resolved_config(settings: ServeSettings, plan: MemoryPlan) -> dict[str, Any]:
    """The parts of VllmConfig that settings end in."""
    modes = {
        GraphMode.EAGER: "NONE",
        GraphMode.COMPILED: "NONE",
        GraphMode.PIECEWISE: "PIECEWISE",
        GraphMode.FULL: "FULL_AND_PIECEWISE",
    }
    config: dict[str, Any] = {
        "model_config": {
            "model": settings.model,
            "max_model_len": plan.max_model_len,
            "enforce_eager": settings.graph_mode is GraphMode.EAGER,
            "seed": settings.seed,
        },
        "cache_config": {
            "block_size": settings.block_size,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "cache_dtype": settings.kv_cache_dtype,
            "enable_prefix_caching": settings.prefix_caching,
            "num_gpu_blocks": plan.blocks,
            "kv_cache_memory_bytes": settings.kv_cache_memory_bytes,
            "kv_offloading_size": settings.offload_bytes / 2**30 or None,
            "kv_offloading_backend": "native",
        },
        "scheduler_config": {
            "max_num_batched_tokens": settings.token_budget,
            "max_num_seqs": settings.max_num_seqs,
            "enable_chunked_prefill": settings.chunked_prefill,
            "long_prefill_token_threshold": settings.long_prefill_tokens,
            "policy": "fcfs",
            "async_scheduling": settings.async_scheduling,
            "stream_interval": settings.stream_interval,
        },
        "attention_config": {"backend": settings.attention_backend},
        "compilation_config": {"cudagraph_mode": modes[settings.graph_mode]},
    }
    if settings.offload_bytes:
        config["kv_transfer_config"] = {
            "kv_connector": "OffloadingConnector",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {"cpu_bytes_to_use": settings.offload_bytes},
        }
    if settings.release.since(0, 17):
        config["performance_mode"] = settings.performance_mode
    if settings.release.since(0, 12):
        config["optimization_level"] = settings.optimization_level
    return config
