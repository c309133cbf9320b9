"""A synthetic serving engine: mixed and conditional parameters, three objectives, failures.

Its numbers are invented and its shape is plausible; it ranks search strategies and predicts
nothing about a real engine. Throughput saturates with the batch and with the KV cache that is
left; memory decides what starts; some pairs of settings are refused; 1.5% of the trials fail for
no reason; figures carry noise. The prior that a strategy may be given is the same engine with
other constants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.records import Configuration, Failure, FailureKind, Scalar
from autotune.spec.space import DEFAULT, SearchSpace, space_from

Columns = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]

SPACE = space_from(
    {
        "name": "synthetic",
        "parameters": {
            "attention_backend": {"choices": ["default", "FLASHINFER", "TRITON_ATTN"]},
            "kv_cache_dtype": {"choices": ["default", "fp8"]},
            "gpu_memory_utilization": {"low": 0.80, "high": 0.96, "step": 0.02},
            "max_num_seqs": {"choices": ["default", 16, 32, 64, 128, 256]},
            "max_num_batched_tokens": {"choices": ["default", 1024, 2048, 4096, 8192]},
            "max_model_len": {"choices": ["default", 16384, 32768]},
            "kv_offload_gib": {"choices": [0, 8, 16, 32, 48, 64, 80]},
            "async_scheduling": {"choices": ["default", True, False]},
            "block_size": {
                "choices": ["default", 16, 32],
                "when": {"attention_backend": ["FLASHINFER"]},
            },
            "performance_mode": {
                "choices": ["default", "interactivity"],
                "when": {"max_num_seqs": ["default"]},
            },
        },
        "relations": [{"at_least": ["max_num_batched_tokens", "max_num_seqs"]}],
    },
    where="synthetic",
)


@dataclass(frozen=True, kw_only=True)
class Physics:
    """The constants of an engine on a card with a model."""

    memory_gib: float = 11.9
    weights_gib: float = 5.3
    activation_gib_per_8k: float = 0.9
    graphs_gib_per_256: float = 0.5
    outside_gib: float = 0.45
    kv_kib_per_token: float = 56.0
    decode_tokens_per_s: float = 62.0
    batch_knee: float = 38.0
    prefill_tokens_per_s: float = 5200.0
    flashinfer: float = 1.08
    triton: float = 0.90
    fp8_speed: float = 1.04
    sync_penalty: float = 0.93
    async_gain: float = 1.02
    small_budget_penalty: float = 0.22
    budget_gain: float = 0.10
    offload_gain: float = 0.06
    offload_cost: float = 0.03
    interactivity_ttft: float = 0.85
    interactivity_speed: float = 0.92
    small_block: float = 0.97
    interference: float = 0.35
    host_base_gib: float = 14.0
    host_total_gib: float = 94.0
    host_headroom_gib: float = 9.0
    ttft_limit_s: float = 2.0
    longest_default: int = 32768


EFFECTS = (
    "flashinfer", "triton", "fp8_speed", "sync_penalty", "async_gain", "interactivity_ttft",
    "interactivity_speed", "small_block",
)  # fmt: skip
"""Factors whose absence is 1."""
RATES = (
    "decode_tokens_per_s", "batch_knee", "prefill_tokens_per_s", "small_budget_penalty",
    "budget_gain", "offload_gain", "offload_cost", "interference",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What an engine does with each of many configurations, without noise.

    Attributes:
        values: (n, 3): output tokens/s, TTFT at 8K in ns, context capacity in tokens.
        kv_margin_gib: GiB of KV cache over what one longest request needs; negative fails.
        headroom_gib: GPU memory left under load; negative fails.
        host_margin_gib: The same on the host.
        refused: Pairs of settings that do not work together.
        too_slow: TTFT over its limit.
    """

    values: Floats
    kv_margin_gib: Floats
    headroom_gib: Floats
    host_margin_gib: Floats
    refused: NDArray[np.bool_]
    too_slow: NDArray[np.bool_]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether it can be recommended."""
        return (
            (self.kv_margin_gib >= 0)
            & (self.headroom_gib >= 0)
            & (self.host_margin_gib >= 0)
            & ~self.refused
            & ~self.too_slow
        )


def columns_of(configurations: list[Configuration]) -> dict[str, NDArray[Any]]:
    """Configurations as arrays: one flag per word, numbers with NaN for `default`."""
    mappings = [c.values for c in configurations]

    def flags(name: str, value: Scalar) -> NDArray[np.bool_]:
        return np.asarray([m.get(name, DEFAULT) is value or m.get(name, DEFAULT) == value
                           for m in mappings])  # fmt: skip

    def numbers(name: str) -> Floats:
        return np.asarray([m.get(name, np.nan) for m in mappings], dtype=np.float64)

    return {
        "flashinfer": flags("attention_backend", "FLASHINFER"),
        "triton": flags("attention_backend", "TRITON_ATTN"),
        "fp8": flags("kv_cache_dtype", "fp8"),
        "share": numbers("gpu_memory_utilization"),
        "seqs": numbers("max_num_seqs"),
        "budget": numbers("max_num_batched_tokens"),
        "longest": numbers("max_model_len"),
        "offload": numbers("kv_offload_gib"),
        "async": flags("async_scheduling", True),
        "sync": flags("async_scheduling", False),
        "block16": flags("block_size", 16),
        "block32": flags("block_size", 32),
        "interactive": flags("performance_mode", "interactivity"),
    }


def _or(numbers: Floats, default: float) -> Floats:
    return np.where(np.isnan(numbers), default, numbers)


def behave(columns: Columns, p: Physics) -> Behaviour:
    """Run the engine's arithmetic on many configurations at once."""
    fp8 = columns["fp8"]
    share = _or(columns["share"], 0.92)
    seqs = np.where(columns["interactive"], 64, _or(columns["seqs"], 256))
    budget = _or(columns["budget"], 2048)
    longest = _or(columns["longest"], p.longest_default)
    offload = _or(columns["offload"], 0)
    activation = p.activation_gib_per_8k * (0.25 + budget / 8192)
    graphs = p.graphs_gib_per_256 * (0.2 + 0.8 * seqs / 256)
    kv_gib = share * p.memory_gib - p.weights_gib - activation - graphs
    gib_per_token = p.kv_kib_per_token * np.where(fp8, 0.5, 1) / 1024**2
    kv_tokens = np.maximum(kv_gib, 0.01) / gib_per_token
    peak = share * p.memory_gib + p.outside_gib + 0.15 * seqs / 256
    return Behaviour(
        values=_figures(columns, p, seqs=seqs, budget=budget, kv_tokens=kv_tokens, offload=offload),
        kv_margin_gib=kv_gib - np.maximum(0.2, longest * gib_per_token),
        headroom_gib=p.memory_gib - peak,
        host_margin_gib=p.host_total_gib - p.host_headroom_gib - p.host_base_gib - 1.06 * offload,
        refused=(fp8 & columns["triton"])
        | (fp8 & columns["block32"])
        | (columns["async"] & (offload >= 64)),
        too_slow=_ttft_s(columns, p, seqs, budget) > p.ttft_limit_s,
    )


def _ttft_s(columns: Columns, p: Physics, seqs: Floats, budget: Floats) -> Floats:
    fp8 = columns["fp8"]
    prefill = p.prefill_tokens_per_s * np.where(columns["flashinfer"], p.flashinfer, 1.0)
    prefill = prefill * np.where(columns["triton"], p.triton, 1.0)
    prefill = prefill * (1 + p.budget_gain * np.log2(budget / 2048))
    prefill = prefill * np.where(fp8, 0.96, 1.0)
    waiting = 1 + 0.25 * (seqs / 256)
    calm = np.where(columns["interactive"], p.interactivity_ttft, 1.0)
    return np.asarray(8192 / prefill * waiting * calm)


def _figures(
    columns: Columns,
    p: Physics,
    *,
    seqs: Floats,
    budget: Floats,
    kv_tokens: Floats,
    offload: Floats,
) -> Floats:
    fp8 = columns["fp8"]
    concurrent = np.minimum(np.minimum(100.0, seqs), np.maximum(kv_tokens / 640, 1))
    speed = p.decode_tokens_per_s * concurrent / (1 + concurrent / p.batch_knee)
    speed = speed * np.where(columns["flashinfer"], p.flashinfer, 1.0)
    speed = speed * np.where(columns["triton"], p.triton, 1.0)
    speed = speed * np.where(fp8, p.fp8_speed, 1.0)
    speed = speed * np.where(columns["sync"], p.sync_penalty, 1.0)
    speed = speed * np.where(columns["async"], p.async_gain, 1.0)
    speed = speed * np.where(budget < 2048, 1 - p.small_budget_penalty, 1.0)
    crowded = p.interference * (budget / 8192) * (concurrent / 100)
    speed = speed * (1 + p.budget_gain * np.log2(budget / 2048)) * (1 - 0.5 * crowded)
    helped = p.offload_gain * np.minimum(offload / 48, 1) * (kv_tokens < 64000)
    speed = speed * (1 + helped - p.offload_cost * (offload > 0))
    speed = speed * np.where(columns["block16"], p.small_block, 1.0)
    calm = columns["interactive"]
    speed = speed * np.where(calm, p.interactivity_speed, 1.0)
    ttft = _ttft_s(columns, p, seqs, budget) * (1 + 0.02 * (offload > 0))
    return np.column_stack([speed, ttft * 1e9, kv_tokens])


def random_physics(rng: np.random.Generator) -> Physics:
    """A card, a model and an engine drawn at random, feasible somewhere."""
    memory = float(rng.choice([11.9, 15.9, 23.6]))
    base = Physics()
    changes: dict[str, float] = {
        "memory_gib": memory,
        "weights_gib": memory * float(rng.uniform(0.35, 0.65)),
        "outside_gib": memory * float(rng.uniform(0.03, 0.06)),
        "kv_kib_per_token": float(rng.choice([56.0, 96.0, 128.0])) * memory / 11.9,
        "host_total_gib": float(rng.choice([78.0, 94.0, 126.0])),
        "ttft_limit_s": 2.0,
        "longest_default": float(rng.choice([16384, 32768])),
    }
    for name in RATES:
        changes[name] = getattr(base, name) * float(np.exp(rng.normal(0, 0.25)))
    for name in EFFECTS:
        changes[name] = float(getattr(base, name) * np.exp(rng.normal(0, 0.05)))
    return replace(base, **changes)


def wrong_prior(
    truth: Physics, rng: np.random.Generator, *, efficiency: float = 0.4, missing: int = 1
) -> Physics:
    """What somebody believed: efficiencies off by up to so much, effects that nobody modelled."""
    changes: dict[str, float] = {}
    for field in fields(truth):
        value = getattr(truth, field.name)
        if field.name in RATES:
            changes[field.name] = value * float(rng.uniform(1 - efficiency, 1 + efficiency))
        elif field.name in {"activation_gib_per_8k", "graphs_gib_per_256", "outside_gib"}:
            changes[field.name] = value * float(rng.uniform(0.8, 1.2))
    for name in rng.choice(EFFECTS, size=missing, replace=False):
        changes[str(name)] = 1.0
    return replace(truth, **changes)


def failure_of(configuration: Configuration, p: Physics) -> Failure | None:
    """How a start of a configuration ends; None if it is measured."""
    seen = behave(columns_of([configuration]), p)
    kv, headroom = float(seen.kv_margin_gib[0]), float(seen.headroom_gib[0])
    host = float(seen.host_margin_gib[0])
    checks: list[tuple[bool, FailureKind, float | None]] = [
        (bool(seen.refused[0]), FailureKind.UNSUPPORTED_COMBINATION, None),
        (host < 0, FailureKind.HOST_OOM, host),
        (kv < 0, FailureKind.KV_TOO_SMALL, kv),
        (headroom < 0, FailureKind.GPU_OOM, headroom),
    ]
    for broken, kind, margin in checks:
        if broken:
            message = "the GPU or the host is full"
            return Failure(kind=kind, phase="starting", message=message, margin_gib=margin)
    return None


def baseline() -> Configuration:
    """The engine's defaults."""
    return Configuration.of({})


def full(values: Mapping[str, Scalar]) -> Configuration:
    """A configuration of the space from some values."""
    return SPACE.active(values)


def space() -> SearchSpace:
    """The synthetic space."""
    return SPACE
