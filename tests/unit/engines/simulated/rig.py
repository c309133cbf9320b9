"""A simulated server without a trial around it, for the tests of this folder."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from autotune.clock import VirtualClock
from autotune.engines.model_shape import ModelShape, shape_of
from autotune.engines.simulated.arguments import Machine, settings_from
from autotune.engines.simulated.card import (
    AttentionEfficiency,
    Card,
    GpuOverhead,
    HostCosts,
    Noise,
    card_named,
)
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.deployer import SimulatedDeployer, SimulatedDeployment
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.server import SimulatedServer
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.seams.engine import ModelFacts
from autotune.seams.requests import GenerationRequest, Prompt, RequestRecord, Segment

T = TypeVar("T")

_QWEN = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "max_position_embeddings": 32768,
}
QWEN_7B = ModelFacts(
    name="qwen-7b",
    config={
        **_QWEN,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
)
QWEN_1B5 = ModelFacts(
    name="qwen-1.5b",
    config={
        **_QWEN,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
)
QWEN_7B_AWQ = ModelFacts(
    name="qwen-7b-awq",
    config={
        **QWEN_7B.config,
        "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
    },
)


def plain_card(name: str = "h100", **changes: object) -> Card:
    """A card on which only the roofline counts: no noise, no host, no small kernels."""
    free_host = HostCosts(
        **{field: 0.0 for field in HostCosts.model_fields if field.endswith("_us")},
    )
    card = card_named(name)
    ideal = AttentionEfficiency(prefill=1.0, decode=1.0, fp8_prefill=1.0, fp8_decode=1.0)
    return card.model_copy(
        update={
            "noise": Noise(gpu=0, host=0, iteration=0),
            "host": free_host,
            "gpu": GpuOverhead(layer_us=0, iteration_us=0, token_traffic=0, eager_traffic=0),
            "gemm": card.gemm.model_copy(
                update={"compute": 1.0, "bandwidth": 1.0, "sharpness": 8.0}
            ),
            "attention": dict.fromkeys(card.attention, ideal),
            **changes,
        }
    )


def machine_of(
    card: Card | None = None, model: ModelFacts = QWEN_7B, release: str = "0.26.0"
) -> Machine:
    """What a server finds."""
    return Machine(
        release=release_named(release),
        card=card or plain_card(),
        shape=shape_of(model),
        model_name=model.name,
    )


def server_of(
    clock: VirtualClock,
    *options: str,
    machine: Machine | None = None,
    blocks: int | None = None,
    streams: bool = False,
    seed: int = 0,
) -> SimulatedServer:
    """A healthy server with these options; `blocks` shortens its KV cache."""
    machine = machine or machine_of()
    settings = settings_from(("vllm", "serve", machine.model_name, *options), {}, machine)
    room = HostRoom(memory_bytes=2**40, shm_bytes=2**39)
    plan = MemoryTruth(machine.card, machine.shape, settings, room).plan()
    if blocks is not None:
        plan = replace(plan, blocks=blocks)
    return SimulatedServer(
        machine.card,
        machine.shape,
        settings,
        plan,
        clock,
        random=np.random.default_rng(seed),
        streams=streams,
    )


def request(
    name: str, *segments: tuple[int, int], output: int = 16, timeout_s: float = 1e6
) -> GenerationRequest:
    """A request whose prompt has segments of (seed, tokens)."""
    return GenerationRequest(
        request_id=name,
        prompt=Prompt(segments=tuple(Segment(seed, tokens) for seed, tokens in segments)),
        max_tokens=output,
        timeout_s=timeout_s,
    )


def served(
    talk: Callable[[SimulatedClient, SimulatedServer], Awaitable[T]],
    *options: str,
    machine: Machine | None = None,
    blocks: int | None = None,
    streams: bool = False,
    seed: int = 0,
) -> T:
    """Run a conversation with a server under a virtual clock of its own."""
    clock = VirtualClock()
    server = server_of(clock, *options, machine=machine, blocks=blocks, streams=streams, seed=seed)

    async def main() -> T:
        return await talk(SimulatedClient(clock, lambda: server), server)

    return clock.run(main())


async def closed_loop(
    client: SimulatedClient, requests: Sequence[GenerationRequest], concurrency: int
) -> list[RequestRecord]:
    """Keep so many requests in flight; records in the order of the requests."""
    waiting = iter(enumerate(requests))
    records: dict[int, RequestRecord] = {}

    async def lane() -> None:
        for index, one in waiting:
            records[index] = await client.generate(one)

    await asyncio.gather(*(lane() for _ in range(min(concurrency, len(requests)))))
    return [records[index] for index in range(len(requests))]


def deployer_of(
    clock: VirtualClock,
    machine: Machine | None = None,
    *,
    seed: int = 0,
    host_gib: float = 94.0,
) -> SimulatedDeployer:
    """A deployer for one simulated machine."""
    memory = round(host_gib * 2**30)
    return SimulatedDeployer(
        machine or machine_of(),
        clock,
        seed=seed,
        host_memory_bytes=memory,
        shm_bytes=memory // 2,
    )


def launch(*options: str, image: str | None = None, **fields: object) -> LaunchPlan:
    """A start with these options."""
    return LaunchPlan(argv=("vllm", "serve", "m", *options), port=8000, image=image, **fields)  # type: ignore[arg-type] # keyword fields of the plan


def identity(trial: int = 0) -> Identity:
    """Some trial's."""
    return Identity(study="s", trial=trial, owner_pid=1, owner_start="")


async def up_or_down(deployment: SimulatedDeployment, clock: VirtualClock) -> None:
    """Wait until a deployment serves or has ended."""
    for _ in range(20_000):
        if deployment.server is not None or deployment.exit_evidence() is not None:
            return
        await clock.sleep(0.25)
    message = "it neither came up nor ended"
    raise AssertionError(message)


def started(
    clock: VirtualClock,
    deployer: SimulatedDeployer,
    plan: LaunchPlan,
    log: Path,
    *,
    trial: int = 0,
) -> SimulatedDeployment:
    """Start a server, wait for it to come up or end, and leave it."""

    async def main() -> SimulatedDeployment:
        async with deployer.deploy(plan, identity=identity(trial), log_path=log) as deployment:
            assert isinstance(deployment, SimulatedDeployment)
            await up_or_down(deployment, clock)
            return deployment

    return clock.run(main())


def shape(model: ModelFacts = QWEN_7B) -> ModelShape:
    """Of a model."""
    return shape_of(model)
