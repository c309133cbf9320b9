"""What the engine does next: a batch, how often in a row, and what that costs to compute."""

from dataclasses import dataclass

import numpy as np

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.costs import Load, attention_pairs, kv_tokens_read
from autotune.engines.simulated.sequence import Sequence


@dataclass(slots=True)
class Step:
    """What the engine does next.

    Attributes:
        load: The work of the first iteration.
        decodes: Sequences that get a token in each iteration.
        chunks: Sequences whose prompt goes on, with the tokens computed.
        count: Iterations in a row; more than one only without chunks.
        growth: KV tokens that each iteration adds to the reading of the next.
        stores: Prompt chunks whose blocks go to host memory.
    """

    load: Load
    decodes: list[Sequence]
    chunks: list[tuple[Sequence, int]]
    count: int = 1
    growth: float = 0.0
    stores: int = 0


@dataclass(slots=True)
class Counters:
    """What the server's /metrics count, since its start."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries_tokens: int = 0
    prefix_hits_tokens: int = 0
    offload_queries_tokens: int = 0
    offload_hits_tokens: int = 0
    preemptions: int = 0
    finished: int = 0
    iterations: int = 0
    offload_loads_blocks: int = 0
    offload_stores_blocks: int = 0


def work_of(
    shape: ModelShape, decodes: list[Sequence], chunks: list[tuple[Sequence, int]]
) -> tuple[Load, float]:
    """The work of an iteration, and the KV tokens by which the next reads more."""
    if shape.sliding_window_tokens is None:
        read = float(sum(s.computed_tokens for s in decodes) + len(decodes))
        growth = float(len(decodes))
    else:
        read = sum(kv_tokens_read(shape, s.computed_tokens + 1) for s in decodes)
        growth = sum(kv_tokens_read(shape, s.computed_tokens + 2) for s in decodes) - read
    done = sum(s.computed_tokens + tokens >= s.target_tokens for s, tokens in chunks)
    load = Load(
        decode_sequences=len(decodes),
        decode_kv_tokens=read,
        longest_kv_tokens=max((s.computed_tokens for s in decodes), default=0),
        prefill_tokens=sum(tokens for _, tokens in chunks),
        prefill_pairs=sum(attention_pairs(shape, t, s.computed_tokens) for s, t in chunks),
        prefill_kv_tokens=float(sum(s.computed_tokens for s, _ in chunks)),
        prefill_sequences=len(chunks),
        sampled=len(decodes) + done,
    )
    return load, growth


def run_length(
    decodes: list[Sequence], available_blocks: int, block_size: int, scheduler_steps: int
) -> int:
    """Decode iterations until a sequence ends or blocks run out; whole schedulings in V0.

    The first iteration's blocks have been taken already.
    """
    steps = scheduler_steps
    shortest = min(s.wanted_tokens - s.generated_tokens for s in decodes)
    count = -(-shortest // steps) * steps
    if len(decodes) * (count // block_size + 1) <= available_blocks:
        return count
    computed = np.fromiter((s.computed_tokens for s in decodes), np.int64, len(decodes))
    held = np.fromiter((s.blocks for s in decodes), np.int64, len(decodes))

    def fits(iterations: int) -> bool:
        needed = -(-(computed + iterations) // block_size) - held
        return int(np.maximum(needed, 0).sum()) <= available_blocks

    low, high = 1, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return max(steps, low // steps * steps)
