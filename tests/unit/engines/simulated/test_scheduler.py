"""The scheduler: nothing is lost, limits hold, KV runs out, prefixes are found again."""

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from autotune.clock import VirtualClock
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.sequence import IntArray
from autotune.engines.simulated.server import SimulatedServer
from autotune.engines.simulated.step import Step
from autotune.seams.requests import RequestErrorKind, RequestRecord
from tests.unit.engines.simulated.rig import (
    QWEN_1B5,
    closed_loop,
    machine_of,
    plain_card,
    request,
    served,
    server_of,
)

_WORK = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 300), st.integers(1, 40)), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(
    work=_WORK,
    concurrency=st.integers(1, 12),
    blocks=st.integers(24, 80),
    sequences=st.integers(1, 8),
    budget=st.sampled_from([16, 64, 512]),
    caching=st.booleans(),
)
def test_every_token_asked_for_comes_and_every_block_goes_back(  # noqa: PLR0917 - hypothesis
    work: list[tuple[int, int, int]],
    concurrency: int,
    blocks: int,
    sequences: int,
    budget: int,
    caching: bool,
) -> None:
    """Whatever the load and however short the KV cache: tokens in = tokens out, in order."""
    flag = "--enable-prefix-caching" if caching else "--no-enable-prefix-caching"
    options = ("--max-num-seqs", str(sequences), "--max-num-batched-tokens", str(budget), flag)

    async def talk(client: SimulatedClient, server: SimulatedServer) -> list[RequestRecord]:
        asked = [
            request(f"r{i}", (seed, tokens), (100 + i, 3), output=output)
            for i, (seed, tokens, output) in enumerate(work)
        ]
        records = await closed_loop(client, asked, concurrency)
        scheduler = server.core.scheduler
        assert scheduler.pool.available == scheduler.pool.total
        assert not scheduler.running
        assert scheduler.counters.generation_tokens == sum(output for _, _, output in work)
        assert scheduler.counters.prompt_tokens == sum(tokens + 3 for _, tokens, _ in work)
        return records

    records = served(talk, *options, blocks=blocks)
    for (_, tokens, output), record in zip(work, records, strict=True):
        assert record.error is None
        assert (record.prompt_tokens, record.output_tokens) == (tokens + 3, output)
        times = list(record.chunk_ns)
        assert len(times) == output
        assert times == sorted(times)
        assert record.sent_ns < times[0]


@settings(max_examples=25)
@given(work=_WORK, concurrency=st.integers(1, 12), blocks=st.integers(24, 80))
@example(work=[(1, 21, 14), (1, 150, 12), (1, 150, 13)], concurrency=3, blocks=24)  # pushed out
def test_runs_of_iterations_give_the_times_of_single_ones(
    work: list[tuple[int, int, int]], concurrency: int, blocks: int
) -> None:
    """Advancing many iterations at once is only faster: every token comes at the same time."""
    stamps = []
    for streams in (False, True):

        async def talk(client: SimulatedClient, _server: SimulatedServer) -> list[RequestRecord]:
            asked = [
                request(f"r{i}", (seed, tokens), output=output)
                for i, (seed, tokens, output) in enumerate(work)
            ]
            return await closed_loop(client, asked, concurrency)

        stamps.append([r.chunk_ns for r in served(talk, blocks=blocks, streams=streams)])
    for many, single in zip(*stamps, strict=True):
        assert len(many) == len(single)
        assert max(abs(a - b) for a, b in zip(many, single, strict=True)) < 2_000  # timers round


def test_no_more_sequences_run_than_allowed() -> None:
    """`max_num_seqs` bounds every batch, and is reached under load."""
    seen: list[int] = []

    async def talk(client: SimulatedClient, server: SimulatedServer) -> None:
        def watch(step: Step, _ends: IntArray) -> None:
            seen.append(len(step.decodes) + len(step.chunks))

        server.core.on_step(watch)
        await closed_loop(client, [request(f"r{i}", (i, 32)) for i in range(40)], 40)

    served(talk, "--max-num-seqs", "7")
    assert max(seen) == 7


def test_no_iteration_computes_more_tokens_than_the_budget() -> None:
    """`max_num_batched_tokens` bounds every iteration, and long prompts are cut to it."""
    seen: list[int] = []

    async def talk(client: SimulatedClient, server: SimulatedServer) -> None:
        def watch(step: Step, _ends: IntArray) -> None:
            seen.append(step.load.tokens)

        server.core.on_step(watch)
        await closed_loop(client, [request(f"r{i}", (i, 1500)) for i in range(6)], 6)

    served(talk, "--max-num-batched-tokens", "512")
    assert max(seen) == 512


def _preemptions(blocks: int) -> int:
    async def talk(client: SimulatedClient, server: SimulatedServer) -> int:
        await closed_loop(client, [request(f"r{i}", (i, 64), output=200) for i in range(8)], 8)
        return server.core.scheduler.counters.preemptions

    return served(talk, blocks=blocks)


def test_requests_are_pushed_out_when_the_kv_cache_is_short_and_only_then() -> None:
    """Eight requests of 264 tokens need 136 blocks: with 60 some start again, with 200 none."""
    assert _preemptions(60) > 0
    assert _preemptions(200) == 0


def _pushed_out(*options: str) -> tuple[int, int]:
    """Preemptions of 40 requests on a KV cache for 32 of them, and tokens given out."""

    async def talk(client: SimulatedClient, server: SimulatedServer) -> tuple[int, int]:
        asked = [request(f"r{i}", (i, 128), output=128) for i in range(40)]
        await closed_loop(client, asked, 40)
        counters = server.core.scheduler.counters
        return counters.preemptions, counters.generation_tokens

    return served(talk, *options, blocks=512)


def test_with_an_offload_and_async_scheduling_a_full_kv_cache_pushes_nearly_all_out() -> None:
    """Blocks come free an iteration late; on an H100 that made 1,807 preemptions of 36."""
    plain, tokens = _pushed_out()
    offload, offload_tokens = _pushed_out("--kv-offloading-size", "8")
    in_step, _ = _pushed_out("--kv-offloading-size", "8", "--no-async-scheduling")
    assert plain > 0
    assert offload > 5 * plain
    assert in_step < 2 * plain
    assert tokens == offload_tokens == 40 * 128


def test_what_a_request_had_generated_is_found_again_when_it_returns() -> None:
    """Pushed out after 200 tokens, it computes again no more than was evicted meanwhile."""

    def computed(caching: str) -> int:
        prefilled = 0

        async def talk(client: SimulatedClient, server: SimulatedServer) -> int:
            def watch(step: Step, _ends: IntArray) -> None:
                nonlocal prefilled
                prefilled += step.load.prefill_tokens

            server.core.on_step(watch)
            await closed_loop(client, [request(f"r{i}", (i, 64), output=200) for i in range(8)], 8)
            return prefilled

        return served(talk, caching, blocks=100)

    assert 8 * 64 < computed("--enable-prefix-caching") < computed("--no-enable-prefix-caching")


def test_a_request_that_was_pushed_out_takes_longer() -> None:
    """Recomputing costs time: the same load ends later on a short KV cache."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int:
        asked = [request(f"r{i}", (i, 512), output=200) for i in range(8)]
        return max(r.end_ns for r in await closed_loop(client, asked, 8))

    assert served(talk, blocks=160) > 1.2 * served(talk, blocks=400)


@pytest.mark.parametrize(
    ("second", "hit_tokens"),
    [
        (((1, 640), (2, 64)), 640),  # the same leading segment, another tail
        (((1, 640), (3, 64)), 640),
        (((9, 64), (1, 640)), 0),  # the same segment, not leading
        (((1, 320), (2, 64)), 0),  # another length is another segment
        (((2, 64), (2, 64)), 0),
    ],
)
def test_a_prefix_is_found_again_only_if_leading_segments_are_equal(
    second: tuple[tuple[int, int], ...], hit_tokens: int
) -> None:
    """Hits are whole blocks of the segments that both prompts begin with."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int | None:
        await client.generate(request("a", (1, 640), (7, 64)))
        return (await client.generate(request("b", *second))).cached_tokens

    assert served(talk) == hit_tokens


def test_of_a_prompt_that_is_known_whole_the_last_block_is_computed() -> None:
    """There is always a token to compute, so 640 known tokens give 624 from the cache."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> int | None:
        await client.generate(request("a", (1, 640)))
        return (await client.generate(request("b", (1, 640)))).cached_tokens

    assert served(talk) == 640 - 16


def test_without_prefix_caching_nothing_is_found_again() -> None:
    """The switch works, and nothing is counted as asked."""

    async def talk(client: SimulatedClient, server: SimulatedServer) -> tuple[int | None, int]:
        await client.generate(request("a", (1, 640)))
        again = await client.generate(request("b", (1, 640)))
        return again.cached_tokens, server.core.scheduler.counters.prefix_queries_tokens

    assert served(talk, "--no-enable-prefix-caching") == (0, 0)


def test_what_was_used_least_recently_is_evicted_first() -> None:
    """Of two documents the one that was read again stays when a third needs room."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> list[int | None]:
        for name, seed in (("a", 1), ("b", 2), ("a again", 1), ("c", 3)):
            await client.generate(request(name, (seed, 640), output=1))
        return [
            (await client.generate(request(f"{seed}?", (seed, 640), output=1))).cached_tokens
            for seed in (1, 2)
        ]

    known = served(talk, blocks=100)  # two documents of 40 blocks and a little
    assert known[0] == 624
    assert known[1] is not None
    assert known[1] < 624


def _revisit(*options: str) -> tuple[float, float, int, int]:
    """Twelve documents of 2048 tokens through 1024 blocks, twice: TTFTs, hits in both tiers."""
    machine = machine_of(plain_card(), QWEN_1B5)

    async def talk(
        client: SimulatedClient, server: SimulatedServer
    ) -> tuple[float, float, int, int]:
        async def read(turn: int) -> float:
            asked = [request(f"{turn}-{i}", (i, 2048), (turn * 100 + i, 32)) for i in range(12)]
            records = await closed_loop(client, asked, 1)
            return sorted(r.ttft_ns or 0 for r in records)[6] / 1e6

        first = await read(1)
        second = await read(2)
        counters = server.core.scheduler.counters
        return first, second, counters.prefix_hits_tokens, counters.offload_hits_tokens

    return served(talk, *options, machine=machine, blocks=1024)


def test_an_offload_gives_back_what_the_gpu_has_evicted() -> None:
    """Documents in turn through a cache that is too small: only host memory remembers them."""
    first, second, gpu_hits, offload_hits = _revisit("--kv-offloading-size", "8")
    assert offload_hits == 12 * 2048
    assert gpu_hits == 0
    assert second < 0.7 * first


def test_without_an_offload_a_second_visit_is_as_slow_as_the_first() -> None:
    """The least recently used order is the worst for documents read in turn."""
    first, second, gpu_hits, offload_hits = _revisit()
    assert (gpu_hits, offload_hits) == (0, 0)
    assert second == pytest.approx(first, rel=0.05)


def test_an_offload_that_is_too_small_gives_little() -> None:
    """Host memory for three of twelve documents keeps none of them until they are asked again."""
    small = 3 * 2048 * 28 * 2 * 2 * 128 * 2 / 2**30
    *_, offload_hits = _revisit("--kv-offloading-size", f"{small:.4f}")
    assert offload_hits < 2048


def test_multi_step_scheduling_gives_tokens_in_bursts() -> None:
    """Ten steps per scheduling: tokens come ten at a time, and the host is paid once."""
    machine = machine_of(plain_card(), QWEN_1B5, release="0.10.0")

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> tuple[int, ...]:
        record = await client.generate(request("a", (1, 64), output=31))
        return tuple(record.chunk_ns)

    stamps = served(talk, "--num-scheduler-steps", "10", "--max-model-len", "4096", machine=machine)
    assert len(stamps) == 31
    assert len(set(stamps)) == 1 + 3


def test_a_request_that_is_too_long_is_refused_with_status_400() -> None:
    """Prompt and answer together must fit in max_model_len."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> RequestRecord:
        return await client.generate(request("a", (1, 4000), output=200))

    record = served(talk, "--max-model-len", "4096")
    assert record.error is not None
    assert (record.error.kind, record.error.status) == (RequestErrorKind.STATUS, 400)
    assert "maximum context length is 4096" in record.error.message


def test_a_request_that_runs_out_of_time_is_taken_out() -> None:
    """Its blocks go back, and others are not held up."""

    async def talk(client: SimulatedClient, server: SimulatedServer) -> RequestRecord:
        record = await client.generate(request("a", (1, 64), output=10_000, timeout_s=0.2))
        assert server.core.scheduler.pool.available == server.core.scheduler.pool.total
        other = await client.generate(request("b", (2, 64)))
        assert other.error is None
        return record

    record = served(talk)
    assert record.error is not None
    assert record.error.kind is RequestErrorKind.TIMEOUT
    assert record.end_ns - record.sent_ns == pytest.approx(0.2e9, rel=0.01)


def test_whoever_waits_is_told_when_the_engine_dies() -> None:
    """A request in the engine ends as cut off, a later one as status 500."""
    clock = VirtualClock()
    server = server_of(clock)
    client = SimulatedClient(clock, lambda: server)

    async def main() -> tuple[RequestRecord, RequestRecord]:
        running = asyncio.create_task(client.generate(request("a", (1, 64), output=1000)))
        await clock.sleep(0.5)
        server.die()
        return await running, await client.generate(request("b", (1, 64)))

    first, second = clock.run(main())
    assert first.error is not None
    assert second.error is not None
    assert first.error.kind is RequestErrorKind.CUT_OFF
    assert second.error.status == 500
