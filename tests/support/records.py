"""Plausible trial records for tests of layout and export: shapes, not measurements.

The figures follow a crude model of a 12 GB card (throughput grows with batch and saturates, fp8
doubles the KV cache, offload costs host memory), so that plots and fronts look like real ones.
"""

import random
from collections.abc import Mapping

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    PhaseSpan,
    ProbeResult,
    ProbeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.telemetry import Sample
from autotune.units import BYTES_PER_GIB, NS_PER_S

ENVIRONMENT = {
    "autotune": "0.1.0",
    "engine": "vllm",
    "engine_release": "0.33.0",
    "engine_platform": "cuda",
    "image": "vllm/vllm-openai:v0.33.0",
    "image_digest": "vllm/vllm-openai@sha256:" + "ab12" * 16,
    "model": "Qwen/Qwen2.5-7B-Instruct-AWQ",
    "model_revision": "b25037543e9394b818fdfca67ab2a00ecc7dd641",
    "gpu": "NVIDIA GeForce RTX 5070",
    "gpu_driver": "580.95.05",
    "gpu_memory_bytes": "12820938752",
    "host_memory_bytes": "101146025984",
    "host_cpu_count": "16",
    "host_platform": "Linux-6.14.0-x86_64-with-glibc2.41",
    "python": "3.12.3",
}
"""What `cli/wiring.py` says of the first user's machine."""

_BACKEND_REFUSED = (
    "ValueError: Selected backend FLASH_ATTN is not valid for this configuration. "
    "Reason: ['kv_cache_dtype not supported']"
)
_PROBES = ("startup", "ttft", "throughput", "long_context", "prefix_cache", "memory")


def configuration(random_: random.Random) -> Configuration:
    """One point of a space like the first user's."""
    values: dict[str, Scalar] = {
        "gpu_memory_utilization": random_.choice([0.8, 0.82, 0.84, 0.86, 0.88, 0.9, 0.92]),
        "kv_offload_gib": random_.choice([0, 8, 16, 32, 48, 64, 80]),
        "max_model_len": 32768,
    }
    optional: dict[str, list[Scalar | None]] = {
        "attention_backend": [None, "FLASHINFER", "TRITON_ATTN"],
        "kv_cache_dtype": [None, "fp8"],
        "max_num_seqs": [None, 16, 32, 64, 128, 256],
        "max_num_batched_tokens": [None, 1024, 2048, 4096, 8192],
        "async_scheduling": [None, True, False],
        "enable_prefix_caching": [None, False],
        "block_size": [None, 16, 32],
    }
    for name, choices in optional.items():
        choice = random_.choice(choices)
        if choice is not None:
            values[name] = choice
    return Configuration.of(values)


def measured_metrics(config: Configuration, random_: random.Random) -> dict[str, float | None]:
    """Metrics that a trial of a configuration could give."""
    values = config.values
    fp8 = values.get("kv_cache_dtype") == "fp8"
    seqs = float(values.get("max_num_seqs", 256))
    budget = float(values.get("max_num_batched_tokens", 2048))
    share = float(values.get("gpu_memory_utilization", 0.92))
    kv_gib = max(0.4, share * 11.9 - 5.6 - 1.4 - budget / 8192)
    tokens = kv_gib * BYTES_PER_GIB / (28 * 4 * 128 * 2 * (1 if fp8 else 2))

    def noisy(value: float) -> float:
        return value * random_.gauss(1.0, 0.015)

    concurrent = min(100.0, seqs, tokens / 640)
    speed = 62 * concurrent / (1 + concurrent / 38)
    speed *= {"FLASHINFER": 1.06, "TRITON_ATTN": 0.93}.get(
        str(values.get("attention_backend")), 1.0
    )
    speed *= 0.94 if values.get("async_scheduling") is False else 1.0
    prefill = 5200 * (1 + 0.12 * (budget / 2048 - 1) ** 0.5 if budget >= 2048 else 0.85)
    offload = float(values.get("kv_offload_gib", 0))
    cached = values.get("enable_prefix_caching", True)
    speedup = 6.5 if cached else 1.0
    return {
        "startup_ns": noisy(74e9),
        "startup_import_ns": noisy(15e9),
        "startup_weights_ns": noisy(9e9),
        "startup_compile_ns": noisy(26e9),
        "startup_graphs_ns": noisy(11e9),
        "ttft_short_ns": noisy(41e6),
        "ttft_short_p95_ns": noisy(58e6),
        "itl_single_ns": noisy(11e6),
        "output_tokens_per_s": noisy(speed),
        "total_tokens_per_s": noisy(speed * 5),
        "requests_per_s": noisy(speed / 128),
        "ttft_loaded_p50_ns": noisy(0.9e9),
        "ttft_loaded_p99_ns": noisy(4.1e9),
        "itl_p50_ns": noisy(1e9 * concurrent / speed),
        "itl_p99_ns": noisy(2.2e9 * concurrent / speed),
        "failed_requests_count": 0.0,
        "preemptions_count": float(max(0, round(100 - tokens / 640))),
        "kv_usage_peak_ratio": min(1.0, 64_000 / tokens),
        "ttft_8k_ns": noisy(8192 / prefill * 1e9),
        "ttft_16k_ns": noisy(16384 / prefill * 1.1e9),
        "ttft_32k_ns": noisy(32768 / prefill * 1.3e9) if tokens > 33_000 else None,
        "prefill_8k_tokens_per_s": noisy(prefill),
        "decode_8k_tokens_per_s": noisy(81),
        "longest_prompt_tokens": 32768.0 if tokens > 33_000 else 16384.0,
        "context_capacity_tokens": float(round(tokens)),
        "max_model_len_tokens": 32768.0,
        "prefix_cold_ttft_ns": noisy(0.8e9),
        "prefix_warm_ttft_ns": noisy(0.8e9 / speedup),
        "prefix_speedup_ratio": noisy(speedup),
        "prefix_hit_ratio": 0.94 if cached else 0.0,
        "revisit_speedup_ratio": noisy(1.0 + min(4.2, offload / 9)),
        "revisit_offload_hit_ratio": min(0.97, offload / 40) if offload else None,
        "gpu_memory_peak_bytes": noisy((share * 11.9 + 0.55) * BYTES_PER_GIB),
        "gpu_memory_steady_bytes": noisy((share * 11.9 + 0.4) * BYTES_PER_GIB),
        "host_memory_peak_bytes": noisy((11 + offload * 1.05) * BYTES_PER_GIB),
        "host_memory_steady_bytes": noisy((10 + offload * 1.05) * BYTES_PER_GIB),
        "gpu_power_mean_w": noisy(212),
        "joules_per_output_token": None,
        "perplexity_ratio": 1.004 if fp8 else 1.0,
        "needle_recall_ratio": 1.0,
    }


def _failure(config: Configuration, random_: random.Random) -> Failure | None:
    values = config.values
    if values.get("kv_cache_dtype") == "fp8" and values.get("attention_backend") is None \
            and random_.random() < 0.3:  # fmt: skip
        return Failure(
            kind=FailureKind.UNSUPPORTED_COMBINATION, phase="starting",
            message="FLASH_ATTN does not take an fp8 KV cache on this card",
            evidence=(_BACKEND_REFUSED,),
        )  # fmt: skip
    if float(values["gpu_memory_utilization"]) >= 0.92 and random_.random() < 0.6:
        return Failure(
            kind=FailureKind.GPU_OOM_WARMUP, phase="starting",
            message="out of GPU memory while the sampler was warmed up",
            evidence=("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 298.00 MiB.",),
            needed_gib=0.29, available_gib=0.11, margin_gib=-0.18,
            repair={"gpu_memory_utilization": 0.9},
        )  # fmt: skip
    if float(values["kv_offload_gib"]) >= 80:
        return Failure(
            kind=FailureKind.WOULD_NOT_FIT, phase="screening",
            message="80 GiB of KV offload need 86.1 GiB of host memory; 9 GiB must stay free",
            needed_gib=86.1, available_gib=82.4, margin_gib=-3.7,
        )  # fmt: skip
    if random_.random() < 0.03:
        return Failure(
            kind=FailureKind.LIMIT_MISSED, phase="probe:long_context",
            message="TTFT at 8K was 2.31 s; the limit is 2 s", margin_gib=None,
        )  # fmt: skip
    return None


def phases(start_ns: int, *, starting_s: float, probes: bool = True) -> tuple[PhaseSpan, ...]:
    """Where the time of a trial went, back to back."""
    lengths = [("preparing", 1.2), ("deploying", 0.8), ("starting", starting_s)]
    if probes:
        lengths.append(("warming_up", 0.4))
        lengths += [(f"probe:{name}", s) for name, s in
                    zip(_PROBES, (0.1, 7.0, 41.0, 38.0, 33.0, 0.1), strict=True)]  # fmt: skip
    lengths += [("stopping", 4.5), ("waiting_for_memory", 3.0)]
    spans = []
    for name, seconds in lengths:
        end_ns = start_ns + round(seconds * NS_PER_S)
        spans.append(PhaseSpan(name=name, start_ns=start_ns, end_ns=end_ns))
        start_ns = end_ns
    return tuple(spans)


def record(
    number: int,
    *,
    study: str = "sample",
    kind: TrialKind = TrialKind.SEARCH,
    label: str = "",
    config: Configuration | None = None,
    failure: Failure | None = None,
    metrics: Mapping[str, float | None] | None = None,
    simulated: bool = False,
    start_ns: int = 0,
    left_out: Mapping[str, str] | None = None,
) -> TrialRecord:
    """One record; what is not given is drawn from the trial's number."""
    random_ = random.Random(number)  # noqa: S311 - a sample, no secret
    config = configuration(random_) if config is None else config
    started = failure is None or failure.phase != "screening"
    if metrics is None:
        metrics = measured_metrics(config, random_) if failure is None else {}
    status = OutcomeStatus.MEASURED
    if failure is not None:
        status = OutcomeStatus.INFEASIBLE if started else OutcomeStatus.SCREENED
    spans = phases(start_ns, starting_s=74.0 if failure is None else 31.0, probes=failure is None)
    return TrialRecord(
        study=study,
        number=number,
        kind=kind,
        label=label,
        configuration=config,
        outcome=Outcome(status=status, failure=failure),
        metrics=metrics,
        probes=tuple(
            ProbeResult(probe=name, status=ProbeStatus.MEASURED, requests_sent=10)
            for name in _PROBES
        ) if failure is None else (),
        limits=(LimitCheck(metric="ttft_8k_ns", bound=2e9, value=metrics.get("ttft_8k_ns"),
                           kept=failure is None),),
        applied=Applied(settings=config.values, kv_cache_tokens=60_000) if started else None,
        ledger=MemoryLedger(weights_gib=5.2, activation_gib=0.9, graphs_gib=0.4, kv_cache_gib=3.4),
        simulated=simulated,
        phases=spans if started else spans[:1],
        left_out=left_out or {},
        command=("vllm", "serve", ENVIRONMENT["model"], "--max-model-len", "32768"),
        wall_start="2026-11-02T09:15:00Z",
        environment={**ENVIRONMENT, **({"engine": "simulated"} if simulated else {})},
    )  # fmt: skip


def telemetry(made: TrialRecord, *, interval_s: float = 1.0) -> tuple[Sample, ...]:
    """Looks at the machine during a trial: memory that fills up, stays, and comes back."""
    start_ns, end_ns = made.phases[0].start_ns, made.phases[-1].end_ns
    gpu = float(made.metrics.get("gpu_memory_peak_bytes") or 10.5 * BYTES_PER_GIB)
    host = float(made.metrics.get("host_memory_peak_bytes") or 20 * BYTES_PER_GIB)
    found = []
    for at_ns in range(start_ns, end_ns, round(interval_s * NS_PER_S)):
        into_s, left_s = (at_ns - start_ns) / NS_PER_S, (end_ns - at_ns) / NS_PER_S
        share = min(1.0, max(0.0, (into_s - 12) / 40), max(0.0, left_s / 5))
        found.append(Sample(at_ns=at_ns, values={
            "gpu_memory_used_bytes": 0.5 * BYTES_PER_GIB + share * (gpu - 0.5 * BYTES_PER_GIB),
            "gpu_memory_total_bytes": 11.94 * BYTES_PER_GIB,
            "host_memory_used_bytes": 8 * BYTES_PER_GIB + share * (host - 8 * BYTES_PER_GIB),
            "host_memory_total_bytes": 94.2 * BYTES_PER_GIB,
            "engine_memory_bytes": share * (host - 8 * BYTES_PER_GIB),
            "shm_used_bytes": None,
        }))  # fmt: skip
    return tuple(found)


def study_records(
    count: int = 40, *, seed: int = 7, simulated: bool = False, study: str = "sample"
) -> tuple[TrialRecord, ...]:
    """A whole study: the baseline first, then trials of which some fail."""
    random_ = random.Random(seed)  # noqa: S311 - a sample, no secret
    records, at_ns = [], 0
    for number in range(count):
        if number == 0:
            config, failure = Configuration.of({"max_model_len": 32768}), None
        else:
            config = configuration(random_)
            failure = _failure(config, random_)
        made = record(
            number, study=study, config=config, failure=failure, simulated=simulated,
            kind=TrialKind.BASELINE if number == 0 else TrialKind.SEARCH, start_ns=at_ns,
        )  # fmt: skip
        at_ns = made.phases[-1].end_ns
        records.append(made)
    return tuple(records)
