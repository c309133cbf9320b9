"""The performance of one configuration, played without a trial around it.

The loads are those of the probes `ttft`, `throughput` and `long_context`, sent to a simulated
server whose start is skipped: what calibration compares with records, and what a benchmark times.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

import numpy as np

from autotune.clock import VirtualClock
from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.arguments import Machine, settings_from
from autotune.engines.simulated.card import Card, Noise
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom
from autotune.engines.simulated.release import Release
from autotune.engines.simulated.sequence import IntArray
from autotune.engines.simulated.server import SimulatedServer
from autotune.engines.simulated.settings import ServeSettings
from autotune.seams.requests import GenerationRequest, Prompt, RequestRecord, Segment
from autotune.spec.workload import Workload
from autotune.units import NS_PER_S, bytes_from_gib

_SHORT_PROMPT_TOKENS: Final = 36
"""The chat question of the probe `ttft`, with its template."""
_CONTEXTS: Final = {8192: "8k", 16384: "16k", 32768: "32k"}


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What is played.

    Attributes:
        argv: The server's command.
        environment: Variables that it starts with.
        kv_tokens: Tokens of its KV cache, where a record says; None to work them out.
        weights_bytes: Size of the checkpoint; None to take it from the shape.
        compiles: Whether its start compiles graphs that are in no cache.
    """

    argv: tuple[str, ...]
    shape: ModelShape
    release: Release
    workload: Workload
    environment: dict[str, str] = field(default_factory=dict)
    kv_tokens: int | None = None
    weights_bytes: int | None = None
    compiles: bool = False

    def settings_on(self, card: Card) -> ServeSettings:
        """What the server would run with on a card.

        Raises:
            StartRefused: If its arguments do not work there.
        """
        machine = Machine(release=self.release, card=card, shape=self.shape)
        return settings_from(self.argv, self.environment, machine)

    def memory_on(self, card: Card) -> MemoryTruth:
        """The memory side of its start on a card.

        Raises:
            StartRefused: If its arguments do not work there.
        """
        host = bytes_from_gib(card.host_memory_gib)
        room = HostRoom(memory_bytes=host, shm_bytes=host)
        settings = self.settings_on(card)
        size, compiles = self.weights_bytes, self.compiles
        return MemoryTruth(card, self.shape, settings, room, size, compiles=compiles)


LoadFigures = Callable[[Sequence[RequestRecord]], Mapping[str, float | None]]
"""The metrics of a closed loop's records, without its warm-up."""


def whole_load(records: Sequence[RequestRecord]) -> dict[str, float | None]:
    """The figures of a load from its first request to its last end."""
    start, end = min(r.sent_ns for r in records), max(r.end_ns for r in records)
    gaps = np.concatenate([_gaps(r) for r in records])
    return {
        "output_tokens_per_s": sum(r.output_tokens or 0 for r in records)
        * NS_PER_S
        / (end - start),
        "ttft_loaded_p50_ns": float(median(r.ttft_ns or 0 for r in records)),
        "itl_p50_ns": float(np.median(gaps)),
        "tpot_p50_ns": float(median(_tpot_ns(r) for r in records)),
    }


def replayed_metrics(
    card: Card, replay: Replay, figures: LoadFigures = whole_load
) -> dict[str, float]:
    """Metrics of a configuration on a card, without noise.

    Args:
        card: The simulated card.
        replay: What is played.
        figures: How the loaded probe makes metrics of records; to compare with records of
            trials, give the probe's own way.

    Returns:
        ttft_short_ns, itl_single_ns, what `figures` gives, and for each length that fits
        ttft_8k_ns, decode_8k_tokens_per_s, ...

    Raises:
        StartRefused: If the server would not come up.
    """
    clock = VirtualClock()
    server = _server(card, replay, clock)
    return clock.run(_measure(server, clock, replay.workload, figures))


def _server(card: Card, replay: Replay, clock: VirtualClock) -> SimulatedServer:
    quiet = card.model_copy(update={"noise": Noise(gpu=0, host=0, iteration=0)})
    truth = replay.memory_on(quiet)
    settings, plan = truth.settings, truth.plan()
    if replay.kv_tokens is not None:
        plan = replace(plan, blocks=replay.kv_tokens // settings.block_size)
    random = np.random.default_rng(0)
    return SimulatedServer(quiet, replay.shape, settings, plan, clock, random=random)


async def _measure(
    server: SimulatedServer, clock: VirtualClock, workload: Workload, figures: LoadFigures
) -> dict[str, float]:
    client = SimulatedClient(clock, lambda: server)
    metrics = await _single(client, workload)
    loaded = figures(await _loaded(client, workload))
    metrics |= {tag: value for tag, value in loaded.items() if value is not None}
    for length, name in _CONTEXTS.items():
        output = workload.long_context_output_tokens
        longest = min(server.plan.max_model_len, server.plan.kv_tokens)
        if length not in workload.long_context_tokens or length > longest:
            continue
        tokens = min(length, longest - output)  # as the probe does: the answer needs its room
        record = await client.generate(_request(f"long-{name}", tokens, output))
        metrics[f"ttft_{name}_ns"] = float(record.ttft_ns or 0)
        rest_s = (record.end_ns - (record.first_token_ns or 0)) / NS_PER_S
        metrics[f"decode_{name}_tokens_per_s"] = (output - 1) / rest_s
    return metrics


async def _single(client: SimulatedClient, workload: Workload) -> dict[str, float]:
    request = _request("single", _SHORT_PROMPT_TOKENS, workload.ttft_max_tokens)
    record = await client.generate(request)
    return {
        "ttft_short_ns": float(record.ttft_ns or 0),
        "itl_single_ns": float(np.median(_gaps(record))),
    }


async def _loaded(client: SimulatedClient, workload: Workload) -> list[RequestRecord]:
    """A closed loop, warm-up first, as the probe `throughput` sends it."""
    tokens, output = workload.prompt_tokens, workload.output_tokens
    warm = [_request(f"warm-{i}", tokens, output) for i in range(workload.warmup_requests)]
    asked = [_request(f"load-{i}", tokens, output) for i in range(workload.requests)]
    await _closed_loop(client, warm, workload.concurrency)
    return await _closed_loop(client, asked, workload.concurrency)


async def _closed_loop(
    client: SimulatedClient, requests: Sequence[GenerationRequest], concurrency: int
) -> list[RequestRecord]:
    waiting = iter(requests)

    async def lane() -> list[RequestRecord]:
        return [await client.generate(request) for request in waiting]

    lanes = await asyncio.gather(*(lane() for _ in range(min(concurrency, len(requests)))))
    return [record for answered in lanes for record in answered]


def _request(name: str, tokens: int, output: int) -> GenerationRequest:
    seed = int.from_bytes(name.encode()[-8:], "big")
    prompt = Prompt(segments=(Segment(seed, tokens),))
    return GenerationRequest(request_id=name, prompt=prompt, max_tokens=output, timeout_s=1e6)


def _tpot_ns(record: RequestRecord) -> float:
    return (record.end_ns - (record.first_token_ns or 0)) / max(1, (record.output_tokens or 0) - 1)


def _gaps(record: RequestRecord) -> IntArray:
    stamps: IntArray = np.asarray(record.chunk_ns, dtype=np.int64)
    return stamps[1:] - stamps[:-1]
