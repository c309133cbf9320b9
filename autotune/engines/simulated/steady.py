"""What a simulated server would reach, worked out from the cost of its iterations alone.

Nothing is played: a full load is a prefill of the requests that run at once, then their decode
steps, over and over. It costs under a millisecond, where `replay` costs tens of them, and is meant
for ranking thousands of configurations before the first trial. What it leaves out (preemptions,
the mix of prompts and decodes, the API server's queue) the search learns from its trials.
"""

import math
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.costs import CostModel, Load, attention_pairs, kv_tokens_read
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.replay import Replay
from autotune.engines.simulated.settings import ServeSettings
from autotune.spec.workload import Workload
from autotune.units import NS_PER_S

CONTEXTS: Final = {8192: "8k", 16384: "16k", 32768: "32k"}
_SHORT_TOKENS: Final = 36
"""The chat question of the probe `ttft`, with its template."""


def steady_metrics(card: Card, replay: Replay) -> dict[str, float]:
    """Throughput, latencies and KV tokens of a configuration, whether or not it fits.

    Args:
        card: The simulated card.
        replay: The command, the model and the load.

    Returns:
        output_tokens_per_s, tpot_p50_ns, itl_single_ns, ttft_short_ns, context_capacity_tokens,
        and ttft_8k_ns, decode_8k_tokens_per_s, ... for each length of the workload.

    Raises:
        StartRefused: If the arguments do not work on that release and card.
    """
    memory = replay.memory_on(card)
    settings, shape, load = memory.settings, replay.shape, replay.workload
    costs = CostModel(card, shape, settings)
    tokens = kv_tokens(memory)
    metrics = _loaded(costs, shape, settings, load, tokens)
    metrics["context_capacity_tokens"] = float(tokens)
    metrics["ttft_short_ns"] = _prefill_s(costs, shape, settings, _SHORT_TOKENS) * NS_PER_S
    metrics["itl_single_ns"] = _decode_s(costs, shape, 1, _SHORT_TOKENS) * NS_PER_S
    for length, name in CONTEXTS.items():
        if length in load.long_context_tokens:
            metrics[f"ttft_{name}_ns"] = _prefill_s(costs, shape, settings, length) * NS_PER_S
            metrics[f"decode_{name}_tokens_per_s"] = 1 / _decode_s(costs, shape, 1, length)
    return metrics


def kv_tokens(memory: MemoryTruth) -> int:
    """Tokens that the KV cache would hold: one block at least, though the start would fail."""
    settings = memory.settings
    size = settings.kv_cache_memory_bytes
    if size is None:
        left = memory.requested - memory.weights - memory.activation - memory.non_torch
        size = left - (memory.graphs_estimate or 0)
    return max(1, size // memory.block_bytes) * settings.block_size


def _loaded(
    costs: CostModel, shape: ModelShape, settings: ServeSettings, load: Workload, kv: int
) -> dict[str, float]:
    """A closed loop in rounds; an open one gives no more than arrives."""
    prompt, output = load.prompt_tokens, load.output_tokens
    asked = settings.max_num_seqs if load.arrival != "closed" else load.concurrency
    fits = max(1.0, kv / (prompt + output))
    at_once = max(1, math.floor(min(asked, load.requests, settings.max_num_seqs, fits)))
    budget = max(1, settings.token_budget)
    whole, rest = divmod(at_once * prompt, budget)
    prefill_s = sum(
        count * _batch_s(costs, shape, tokens, prompt)
        for count, tokens in ((whole, budget), (1, rest))
        if count and tokens
    )
    step_s = _decode_s(costs, shape, at_once, prompt + output // 2)
    seconds = prefill_s + (output - 1) * step_s + costs.admission_s(prompt) + costs.latency_s()
    rate = at_once * output / seconds
    if load.rate_requests_per_s is not None:
        rate = min(rate, load.rate_requests_per_s * output)
    tpot_s = step_s + prefill_s / output
    return {"output_tokens_per_s": rate, "tpot_p50_ns": tpot_s * NS_PER_S}


def _batch_s(costs: CostModel, shape: ModelShape, tokens: int, prompt: int) -> float:
    """An iteration that computes prompts of one length, so many tokens together."""
    prompts = max(1, round(tokens / prompt))
    each = min(prompt, tokens)
    load = Load(
        prefill_tokens=tokens,
        prefill_pairs=prompts * attention_pairs(shape, each, 0),
        prefill_sequences=prompts,
        sampled=prompts,
    )
    return costs.iteration_s(load)


def _decode_s(costs: CostModel, shape: ModelShape, sequences: int, length: int) -> float:
    """A decode step of so many sequences of one length."""
    load = Load(
        decode_sequences=sequences,
        decode_kv_tokens=sequences * kv_tokens_read(shape, length),
        longest_kv_tokens=length,
        sampled=sequences,
    )
    return costs.iteration_s(load)


def _prefill_s(costs: CostModel, shape: ModelShape, settings: ServeSettings, tokens: int) -> float:
    """The first token of a lone prompt, computed chunk by chunk."""
    chunk = min(settings.token_budget, settings.long_prefill_tokens or settings.token_budget)
    seconds, done = 0.0, 0
    while done < tokens:
        now = min(chunk, tokens - done)
        load = Load(
            prefill_tokens=now,
            prefill_pairs=attention_pairs(shape, now, done),
            prefill_kv_tokens=float(done),
            prefill_sequences=1,
            sampled=int(done + now >= tokens),
        )
        seconds += costs.iteration_s(load)
        done += now
    return seconds + costs.admission_s(tokens) + costs.request_latency_s() + costs.latency_s()
