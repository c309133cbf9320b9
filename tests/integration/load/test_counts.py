"""The client held against the golden server: counts at zero tolerance, stamps in their order."""

from collections.abc import Iterator
from typing import Any

import pytest

from autotune.clock import MonotonicClock
from autotune.load.connect import http_connector
from autotune.seams.requests import (
    GenerationRequest,
    LoadPlan,
    LoadResult,
    Prompt,
    RequestRecord,
    Segment,
)
from tests.support.golden import Golden, golden_server

CLOCK = MonotonicClock()


@pytest.fixture(scope="module")
def shared() -> Iterator[Golden]:
    """One golden server for this file."""
    with golden_server(ttft_ms=3, itl_ms=1) as server:
        yield server


@pytest.fixture
def golden(shared: Golden) -> Golden:
    """The golden server, its memory empty."""
    shared.reset()
    return shared


def synthetic(name: str, tokens: int, output: int, **golden: object) -> GenerationRequest:
    """A synthetic request; `golden` is its script."""
    return GenerationRequest(
        request_id=name,
        prompt=Prompt(segments=(Segment(hash(name), tokens),)),
        max_tokens=output,
        timeout_s=20,
        extra={"golden": golden} if golden else {},
    )


def loaded(golden: Golden, plan: LoadPlan, *, processes: int) -> LoadResult:
    """Run a plan against the golden server."""

    async def main() -> LoadResult:
        connect = http_connector(CLOCK, processes=processes)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            return await connection.load.run(plan)

    return CLOCK.run(main())


def assert_equal_counts(records: tuple[RequestRecord, ...], rows: list[dict[str, Any]]) -> None:
    """Requests, tokens and chunks are the same on both sides, and no stamp precedes its send."""
    by_name = {row["request_id"]: row for row in rows}
    assert len(by_name) >= len(records) > 0
    for record in records:
        row = by_name[record.request_id]
        assert record.error is None
        assert (record.prompt_tokens, record.output_tokens) == (
            row["prompt_tokens"],
            row["output_tokens"],
        )
        assert len(record.chunk_ns) == len(row["sends_ns"])
        assert all(
            seen >= sent for seen, sent in zip(record.chunk_ns, row["sends_ns"], strict=True)
        )
        assert record.sent_ns <= row["received_ns"]
        assert record.end_ns >= record.chunk_ns[-1]


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_a_load_is_counted_exactly(golden: Golden, processes: int) -> None:
    """Forty requests of different lengths, eight at once, from this process or others."""
    plan = LoadPlan(
        requests=tuple(synthetic(f"n{i}", 10 + 37 * i, 5 + i) for i in range(40)),
        concurrency=8,
        warmup_requests=4,
    )

    result = loaded(golden, plan, processes=processes)

    assert [r.request_id for r in plan.requests] == [r.request_id for r in result.records]
    assert [10 + 37 * i for i in range(40)] == [r.prompt_tokens for r in result.records]
    assert [5 + i for i in range(40)] == [r.output_tokens for r in result.records]
    assert_equal_counts(result.records, golden.seen())
    warm, rest = result.records[:4], result.records[4:]
    assert max(r.end_ns for r in warm) <= min(r.sent_ns for r in rest)


@pytest.mark.parametrize("processes", [0, 2])
def test_an_open_loop_leaves_no_request_out(golden: Golden, processes: int) -> None:
    """Thirty requests within 0.3 s, each no earlier than its time."""
    plan = LoadPlan(
        requests=tuple(synthetic(f"o{i}", 32, 4) for i in range(30)),
        offsets_ns=tuple(10_000_000 * i for i in range(30)),
    )

    result = loaded(golden, plan, processes=processes)

    assert_equal_counts(result.records, golden.seen())
    assert all(r.sent_ns >= r.scheduled_ns for r in result.records)
    gaps = {
        b.scheduled_ns - a.scheduled_ns
        for a, b in zip(result.records[::2], result.records[2::2], strict=False)
    }
    assert gaps == {20_000_000}


@pytest.mark.parametrize(
    "script",
    [
        {"split_bytes": 1},
        {"split_bytes": 7},
        {"tokens_per_chunk": 4},
        {"empty_chunks": 3},
        {"itl_ms": 0, "ttft_ms": 0},
        {"lockstep": True},
    ],
)
def test_chunk_boundaries_do_not_change_counts(golden: Golden, script: dict[str, object]) -> None:
    """Cut anywhere, joined, several tokens in one, or empty: tokens and chunks stay exact."""
    plan = LoadPlan(
        requests=tuple(synthetic(f"c{i}", 64, 18, **script) for i in range(6)), concurrency=3
    )

    result = loaded(golden, plan, processes=0)

    assert_equal_counts(result.records, golden.seen())
    size = int(str(script.get("tokens_per_chunk", 1)))
    assert {-(-18 // size)} == {len(r.chunk_ns) for r in result.records}


def test_a_shared_prefix_is_shared_on_the_server_and_no_other(golden: Golden) -> None:
    """Equal leading segments hit the server's cache block by block; all else misses."""
    prefix = Segment(99, 64)
    plan = LoadPlan(
        requests=(
            *(
                GenerationRequest(
                    request_id=f"p{i}",
                    prompt=Prompt(segments=(prefix, Segment(1000 + i, 40))),
                    max_tokens=2,
                )
                for i in range(3)
            ),
            synthetic("other", 104, 2),
        ),
    )

    result = loaded(golden, plan, processes=0)

    assert [r.cached_tokens for r in result.records] == [0, 64, 64, 0]


@pytest.mark.parametrize("script", [{"token_ids": False}, {"tokenize": False}])
def test_a_server_that_takes_text_only_gets_exact_lengths_too(script: dict[str, Any]) -> None:
    """With a mark of its own before the text, the server still counts what was asked for."""
    with golden_server(ttft_ms=0, itl_ms=0, added_tokens=2, **script) as server:
        plan = LoadPlan(requests=tuple(synthetic(f"t{i}", 20 + i, 3) for i in range(5)))
        result = loaded(server, plan, processes=1)

    assert [r.error for r in result.records] == [None] * 5
    assert [r.prompt_tokens for r in result.records] == [20, 21, 22, 23, 24]


def test_chat_text_comes_back_whole(golden: Golden) -> None:
    """A literal question is answered with text, and the role chunk is no token."""

    async def main() -> RequestRecord:
        connect = http_connector(CLOCK, processes=0)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            return await connection.client.generate(
                GenerationRequest(
                    request_id="chat",
                    prompt=Prompt(text="Hello there", chat=True),
                    max_tokens=3,
                    extra={"golden": {"template_tokens": 5}},
                )
            )

    record = CLOCK.run(main())

    assert record.error is None
    assert record.text == " w0 w1 w2"
    assert record.prompt_tokens == 7
    assert len(record.chunk_ns) == 3


def test_plain_paths(golden: Golden) -> None:
    """GET and POST give status and text; a server that is not there gives None."""

    async def main() -> None:
        connect = http_connector(CLOCK, processes=0)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            health = await connection.client.get("/health")
            lost = await connection.client.get("/nowhere")
            metrics = await connection.client.get("/metrics")
            tokens = await connection.client.post("/tokenize", {"prompt": "a b"})
        assert health is not None
        assert lost is not None
        assert metrics is not None
        assert tokens is not None
        assert (health.status, lost.status, tokens.status) == (200, 404, 200)
        assert "vllm:prompt_tokens_total" in metrics.text
        async with connect(base_url="http://127.0.0.1:9", model="golden") as connection:
            assert await connection.client.get("/health", timeout_s=2) is None
            assert await connection.client.post("/tokenize", {}, timeout_s=2) is None

    CLOCK.run(main())


def test_a_request_is_due_when_the_one_before_it_ended(golden: Golden) -> None:
    """In a closed loop the client's own turn-round is its lag, not hidden in the schedule."""
    plan = LoadPlan(requests=tuple(synthetic(f"d{i}", 32, 3) for i in range(6)), concurrency=1)

    records = loaded(golden, plan, processes=0).records

    assert [r.end_ns for r in records[:-1]] == [r.scheduled_ns for r in records[1:]]
    assert all(r.sent_ns > r.scheduled_ns for r in records[1:])


def test_the_same_requests_can_be_sent_again_and_again(golden: Golden) -> None:
    """What was encoded ahead for one load is not mixed up with another's."""
    first = LoadPlan(requests=tuple(synthetic(f"a{i}", 20 + i, 2) for i in range(8)))
    second = LoadPlan(requests=tuple(synthetic(f"b{i}", 60 + i, 3) for i in range(8)))

    async def main() -> list[RequestRecord]:
        connect = http_connector(CLOCK, processes=0)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            single = await connection.client.generate(first.requests[0])
            loads = [await connection.load.run(plan) for plan in (first, second, first)]
        return [single, *(record for load in loads for record in load.records)]

    records = CLOCK.run(main())

    assert [r.error for r in records] == [None] * 25
    assert [20, *range(20, 28), *range(60, 68), *range(20, 28)] == [
        r.prompt_tokens for r in records
    ]
