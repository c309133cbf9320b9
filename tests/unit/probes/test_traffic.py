"""The load of test 3: from a data set, from a trace, and paced."""

import json
from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.probes.throughput import ThroughputProbe
from autotune.records import ProbeResult, ProbeStatus
from autotune.seams.requests import GenerationRequest
from tests.unit.probes.serving import MS, SMALL, Server, context


def measured(**changes: object) -> tuple[ProbeResult, list[GenerationRequest], Server]:
    """Ask test 3 with another workload: its result, and what was sent after the warm-up."""
    clock = VirtualClock()
    server = Server(clock)
    workload = SMALL.model_copy(update={"warmup_requests": 0, **changes})
    result = clock.run(ThroughputProbe().run(context(server, workload=workload)))
    return result, server.asked, server


def test_share_gpts_questions_are_sent_in_order_and_again_from_the_start(tmp_path: Path) -> None:
    """Three questions for five requests, as chats, with the workload's length of answer."""
    path = tmp_path / "share.json"
    talks = [
        {"conversations": [{"from": "human", "value": f"Question {i}?"}, {"from": "gpt"}]}
        for i in range(3)
    ]
    path.write_text(json.dumps(talks), encoding="utf-8")
    result, asked, _ = measured(dataset=str(path), requests=5, concurrency=1)

    assert result.status is ProbeStatus.MEASURED
    assert [r.prompt.text for r in asked] == [f"Question {i}?" for i in (0, 1, 2, 0, 1)]
    assert {(r.prompt.chat, r.max_tokens) for r in asked} == {(True, SMALL.output_tokens)}


def test_own_lines_say_how_long_their_answers_are(tmp_path: Path) -> None:
    """Each line's own length and kind."""
    path = tmp_path / "own.jsonl"
    lines = [{"prompt": "one", "output_tokens": 3, "chat": False}, {"prompt": "two"}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    _, asked, _ = measured(dataset=str(path), requests=2, concurrency=1)

    assert [(r.prompt.text, r.max_tokens, r.prompt.chat) for r in asked] == [
        ("one", 3, False), ("two", SMALL.output_tokens, True),
    ]  # fmt: skip


def test_a_trace_is_replayed_at_its_times_with_its_lengths_and_prefixes(tmp_path: Path) -> None:
    """Requests of 600, 700 and 50 tokens 40 ms apart; the first two share a block of 512."""
    path = tmp_path / "trace.jsonl"
    lines = [
        {"timestamp": 1000, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]},
        {"timestamp": 1040, "input_length": 700, "output_length": 6, "hash_ids": [7, 9]},
        {"timestamp": 1080, "input_length": 50, "output_length": 7},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    result, asked, server = measured(dataset=str(path), requests=100)

    assert result.status is ProbeStatus.MEASURED
    assert result.requests_sent == 3
    assert [(r.prompt.tokens, r.max_tokens) for r in asked] == [(600, 5), (700, 6), (50, 7)]
    assert server.counters["prefix_hits_tokens"] == 512
    assert asked[0].prompt.segments[0] == asked[1].prompt.segments[0]


@pytest.mark.parametrize("arrival", ["constant", "poisson", "gamma"])
def test_an_open_loop_sends_at_its_rate(arrival: str, tmp_path: Path) -> None:
    """A data set at 50 requests/s: 101 requests take two seconds on average."""
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": "one", "output_tokens": 2}), encoding="utf-8")
    result, _, _ = measured(
        dataset=str(path), requests=101, arrival=arrival, rate_requests_per_s=50.0
    )

    spread = 0.01 if arrival == "constant" else 0.4
    rate = result.metrics["requests_per_s"]
    assert rate == pytest.approx(50, rel=spread)


def test_goodput_counts_what_keeps_the_slo() -> None:
    """TTFT is 10 ms and a gap 10 ms: all of it within 20 ms, nothing within 5 ms between tokens."""
    kept, _, _ = measured(slo_ttft_s=0.02, slo_itl_s=0.02)
    broken, _, _ = measured(slo_ttft_s=0.02, slo_itl_s=0.005)

    assert kept.metrics["goodput_requests_per_s"] == kept.metrics["requests_per_s"]
    assert broken.metrics["goodput_requests_per_s"] == 0
    assert kept.metrics["ttft_loaded_p50_ns"] == pytest.approx(10 * MS)
