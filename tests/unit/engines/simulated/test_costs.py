"""Closed forms: what a request must take, worked out here from the card's and model's numbers."""

import numpy as np
import pytest

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.arguments import settings_from
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.costs import CostModel, FloatArray, Load
from autotune.engines.simulated.server import SimulatedServer
from autotune.seams.engine import ModelFacts
from tests.unit.engines.simulated.rig import (
    QWEN_1B5,
    QWEN_7B,
    closed_loop,
    machine_of,
    plain_card,
    request,
    served,
)

# Qwen2.5-7B, from its config.json: 28 layers of (q, k, v, o and three feed-forward matrices).
_LINEAR = 28 * (3584 * (3584 + 512 + 512) + 3584 * 3584 + 3 * 3584 * 18944)
_HEAD = 152064 * 3584
_KV_BYTES = 28 * 2 * 4 * 128 * 2
_H100_BYTES_PER_S = 3350e9
_H100_FLOPS = 989e12


def _gaps(tokens: int, output: int, *options: str) -> FloatArray:
    async def talk(client: SimulatedClient, _server: SimulatedServer) -> tuple[int, ...]:
        record = await client.generate(request("a", (1, tokens), output=output))
        return tuple(record.chunk_ns)

    gaps: FloatArray = np.diff(np.array(served(talk, *options))) / 1e9
    return gaps


def test_a_single_request_decodes_at_the_speed_of_reading_weights_and_its_kv() -> None:
    """One token takes (weights + KV cache) / bandwidth where nothing else counts."""
    first = _gaps(1000, 50)[0]
    expected = ((_LINEAR + _HEAD) * 2 + 1001 * _KV_BYTES) / _H100_BYTES_PER_S
    assert first == pytest.approx(expected, rel=0.01)


def test_decoding_slows_by_the_kv_that_each_token_adds() -> None:
    """The gap grows by one token's KV bytes / bandwidth per token."""
    gaps = _gaps(1000, 101)
    assert (gaps[-1] - gaps[0]) / 99 == pytest.approx(_KV_BYTES / _H100_BYTES_PER_S, rel=0.05)


def test_fp8_halves_what_the_kv_adds() -> None:
    """An fp8 KV cache has half the bytes."""
    slope = {dtype: np.diff(_gaps(1000, 101, "--kv-cache-dtype", dtype)).mean()
             for dtype in ("auto", "fp8")}  # fmt: skip
    assert slope["fp8"] == pytest.approx(slope["auto"] / 2, rel=0.05)


def test_a_long_prompt_takes_its_flops() -> None:
    """TTFT of 8192 tokens in one chunk is (2 x parameters x tokens + attention) / peak."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int | None:
        return (await client.generate(request("a", (1, 8192)))).ttft_ns

    ttft = served(talk, "--max-num-batched-tokens", "16384")
    attention = 4 * 28 * 28 * 128 * 8192 * 8193 / 2
    expected = (2 * (_LINEAR * 8192 + _HEAD) + attention) / _H100_FLOPS
    assert ttft is not None
    assert ttft / 1e9 == pytest.approx(expected, rel=0.01)


def test_chunks_of_a_prompt_attend_to_what_came_before() -> None:
    """Cut in four, a prompt costs the same FLOPs: attention counts every earlier token once."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int:
        return (await client.generate(request("a", (1, 8192)))).ttft_ns or 0

    whole = served(talk, "--max-num-batched-tokens", "8192")
    quarters = served(talk, "--max-num-batched-tokens", "2048", "--max-num-seqs", "64")
    assert quarters == pytest.approx(whole, rel=0.02)


def _batch_rate(*options: str, **host: float) -> float:
    """Tokens/s of 64 requests at once on a 1.5B model, with these host costs."""
    card = plain_card()
    card = card.model_copy(update={"host": card.host.model_copy(update=host)})

    async def talk(client: SimulatedClient, server: SimulatedServer) -> float:
        asked = [request(f"r{i}", (i, 64), output=64) for i in range(64)]
        records = await closed_loop(client, asked, 64)
        tokens = server.core.scheduler.counters.generation_tokens
        return tokens * 1e9 / max(r.end_ns for r in records)

    return served(talk, *options, machine=machine_of(card, QWEN_1B5))


def test_async_scheduling_hides_the_host_behind_the_gpu() -> None:
    """With it an iteration takes the longer of the two, without it their sum."""
    alone = _batch_rate()
    hidden = _batch_rate("--async-scheduling", iteration_us=500.0)
    shown = _batch_rate("--no-async-scheduling", iteration_us=500.0)
    assert hidden == pytest.approx(alone, rel=0.03)
    assert 64 / shown - 64 / alone == pytest.approx(500e-6, rel=0.05)


def test_eager_launches_bound_a_small_model() -> None:
    """Without graphs an iteration takes at least the launches of its layers."""
    rate = _batch_rate("--enforce-eager", eager_layer_us=300.0)
    assert 64 / rate == pytest.approx(28 * 300e-6, rel=0.03)
    assert _batch_rate(eager_layer_us=300.0) > 2 * rate


def _chunk_gaps_s(*options: str, chunk_us: float = 100.0, **host: float) -> tuple[float, int]:
    """Median gap between chunks of 64 streams, and the tokens of all, with these host costs."""
    card = plain_card()
    costs = {"frontend_chunk_us": chunk_us, "frontend_token_share": 0.0, **host}
    host_costs = card.host.model_copy(update=costs)
    machine = machine_of(card.model_copy(update={"host": host_costs}), QWEN_1B5)

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> tuple[float, int]:
        asked = [request(f"r{i}", (i, 64), output=64) for i in range(64)]
        records = await closed_loop(client, asked, 64)
        gaps = np.concatenate([np.diff(np.array(r.chunk_ns)) for r in records])
        return float(np.median(gaps)) / 1e9, sum(r.output_tokens or 0 for r in records)

    return served(talk, *options, machine=machine)


def test_tokens_join_the_next_chunk_while_the_api_server_is_busy() -> None:
    """64 streams x 100 us: chunks come every 6.4 ms, whatever the engine's pace."""
    assert _chunk_gaps_s() == pytest.approx((6.4e-3, 64 * 64), rel=0.01)
    busy = _batch_rate(frontend_chunk_us=100.0, frontend_token_share=0.0)
    assert busy == pytest.approx(_batch_rate(), rel=0.03)


def test_work_per_token_is_not_saved_by_chunks_that_merge() -> None:
    """64 streams, tokens every T, 25 us a token and 100 us a chunk: 6.4 ms / (1 - 1.6 ms / T).

    To within the 1.6 ms of one token each, for a round takes whole ones.
    """
    slow = {"iteration_us": 3000.0}
    iteration_s, tokens = _chunk_gaps_s(chunk_us=0.0, **slow)
    gap_s, again = _chunk_gaps_s(chunk_us=100.0, frontend_token_share=0.25, **slow)
    assert again == tokens
    assert 1.6e-3 < iteration_s < 6.4e-3
    assert gap_s == pytest.approx(6.4e-3 / (1 - 1.6e-3 / iteration_s), abs=1.6e-3)


def test_longer_chunks_cost_the_api_server_less() -> None:
    """With --stream-interval 10 it keeps up: a chunk comes with every tenth token."""
    iteration_s, _ = _chunk_gaps_s(chunk_us=0.0)
    gap_s, _ = _chunk_gaps_s("--stream-interval", "10")
    assert gap_s == pytest.approx(10 * iteration_s, rel=0.01)


def test_requests_that_come_together_are_taken_in_together() -> None:
    """Processor sharing: of 20 requests at once, 1 ms of work each, none is in before 20 ms."""
    card = plain_card()
    host = card.host.model_copy(update={"frontend_request_us": 1000.0})
    machine = machine_of(card.model_copy(update={"host": host}), QWEN_1B5)

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> list[int]:
        asked = [request(f"r{i}", (i, 16), output=2) for i in range(20)]
        return sorted(r.ttft_ns or 0 for r in await closed_loop(client, asked, 20))

    first, *_, last = served(talk, machine=machine)
    assert first > 20e6
    assert last < 30e6


def test_async_scheduling_hands_a_prefills_token_out_after_the_next_launch() -> None:
    """Without graphs the launch of the first decode delays the first token by as much."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int:
        return (await client.generate(request("a", (1, 64)))).ttft_ns or 0

    card = plain_card()
    host = card.host.model_copy(update={"eager_layer_us": 500.0})
    machine = machine_of(card.model_copy(update={"host": host}), QWEN_1B5)
    late = served(talk, "--enforce-eager", machine=machine)
    prompt = served(talk, "--enforce-eager", "--no-async-scheduling", machine=machine)
    assert late - prompt == pytest.approx(28 * 500e3, rel=0.01)


def test_one_long_sequence_bounds_a_kernel_that_does_not_spread_it() -> None:
    """Layers x tokens x sequence_token_ns per decode step; half of it with half the bytes."""
    card = plain_card()
    slow = card.attention["TRITON_ATTN"].model_copy(update={"sequence_token_ns": 50.0})
    machine = machine_of(card.model_copy(update={"attention": {**card.attention,
                                                               "TRITON_ATTN": slow}}))  # fmt: skip

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> tuple[int, ...]:
        return tuple((await client.generate(request("a", (1, 10_000), output=4))).chunk_ns)

    def step_ns(backend: str, dtype: str) -> float:
        options = ("--attention-backend", backend, "--kv-cache-dtype", dtype)
        return float(np.diff(served(talk, *options, machine=machine))[-1])

    for dtype, share in (("auto", 1.0), ("fp8", 0.5)):
        read_ns = 10_002 * _KV_BYTES * share / _H100_BYTES_PER_S * 1e9
        extra_ns = 28 * 10_002 * 50.0 * share - read_ns
        more_ns = step_ns("TRITON_ATTN", dtype) - step_ns("FLASH_ATTN", dtype)
        assert more_ns == pytest.approx(extra_ns, rel=0.01)


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        (("--attention-backend", "FLEX_ATTENTION"), ("--attention-backend", "FLASH_ATTN")),
        (("--enforce-eager",), ()),
        (("--no-async-scheduling",), ("--async-scheduling",)),
        (("--max-num-seqs", "4"), ("--max-num-seqs", "64")),
    ],
)
def test_effects_have_the_sign_that_real_cards_show(
    slower: tuple[str, ...], faster: tuple[str, ...]
) -> None:
    """On an H100 as delivered these settings cost throughput on a small model."""
    real = card_named("h100")
    card = plain_card("h100", host=real.host, attention=real.attention)
    machine = machine_of(card, QWEN_1B5)

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int:
        asked = [request(f"r{i}", (i, 2048), output=64) for i in range(64)]
        return max(r.end_ns for r in await closed_loop(client, asked, 64))

    assert served(talk, *slower, machine=machine) > 1.05 * served(talk, *faster, machine=machine)


def test_experts_that_no_token_needs_are_not_read() -> None:
    """One token of a mixture of 64 experts, 8 active, reads an eighth of the experts' weights."""
    mixture = ModelFacts(
        name="moe",
        config={
            "model_type": "qwen3_moe",
            "num_hidden_layers": 10,
            "hidden_size": 1024,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "intermediate_size": 4096,
            "moe_intermediate_size": 512,
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "vocab_size": 32000,
            "max_position_embeddings": 4096,
        },
    )
    machine = machine_of(plain_card(), mixture)

    settings = settings_from(("vllm", "serve", "m"), {}, machine)
    costs = CostModel(machine.card, shape_of(mixture), settings)
    one = costs.gpu_s(Load(decode_sequences=1, sampled=1))
    many = costs.gpu_s(Load(decode_sequences=256, sampled=1))
    expert_bytes = 10 * 64 * 3 * 1024 * 512 * 2
    assert (many - one) * _H100_BYTES_PER_S == pytest.approx(expert_bytes * 7 / 8, rel=0.1)


def test_the_model_of_these_tests_is_the_published_one() -> None:
    """The closed forms above use Qwen2.5-7B's own parameter count: 7.6 billion."""
    assert shape_of(QWEN_7B).parameters == pytest.approx(_LINEAR + 2 * _HEAD, rel=1e-3)
    assert pytest.approx(7.61, abs=0.02) == (_LINEAR + 2 * _HEAD) / 1e9


def test_a_backend_and_an_fp8_kv_cache_launch_attention_at_their_own_cost() -> None:
    """28 layers x 500 us, and 200 us more with fp8, but nothing where a graph holds them."""
    card = plain_card()
    costly = card.attention["FLASH_ATTN"].model_copy(
        update={"launch_us": 500.0, "fp8_launch_us": 200.0}
    )
    attention = {**card.attention, "FLASH_ATTN": costly}
    machine = machine_of(card.model_copy(update={"attention": attention}), QWEN_1B5)

    def seconds(load: Load, *options: str) -> float:
        argv = ("vllm", "serve", "m", "--no-async-scheduling", *options)
        settings = settings_from(argv, {}, machine)
        return CostModel(machine.card, machine.shape, settings).iteration_s(load)

    prompt = Load(prefill_tokens=16, prefill_sequences=1, sampled=1)
    assert seconds(prompt) == pytest.approx(28 * 500e-6)
    assert seconds(prompt, "--kv-cache-dtype", "fp8") == pytest.approx(28 * 700e-6)
    assert seconds(Load(decode_sequences=1, sampled=1)) < 28 * 100e-6
