"""Probes over HTTP against the golden server: figures, and the correctness gate's catches."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from autotune.clock import MonotonicClock
from autotune.load.connect import http_connector
from autotune.probes import PROBES
from autotune.records import Applied, Configuration, FailureKind, ProbeResult, ProbeStatus
from autotune.seams.probe import ProbeContext, Readiness
from autotune.seams.requests import (
    Client,
    GenerationRequest,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)
from autotune.spec.workload import Workload
from tests.support.golden import Golden, golden_server

CLOCK = MonotonicClock()
WORKLOAD = Workload(
    ttft_repeats=3,
    requests=12,
    concurrency=4,
    warmup_requests=2,
    prompt_tokens=64,
    output_tokens=16,
    long_context_tokens=(8192,),
    prefix_tokens=512,
)


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    """One golden server for this file."""
    with golden_server(ttft_ms=2, itl_ms=1) as server:
        yield server


def asked(golden: Golden, name: str, **changes: Any) -> ProbeResult:
    """Run one probe against the golden server."""

    async def main() -> ProbeResult:
        connect = http_connector(CLOCK, processes=0)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            given: dict[str, Any] = {
                "workload": WORKLOAD,
                "applied": Applied(max_model_len_tokens=40_960),
                **changes,
            }
            return await PROBES[name]().run(
                ProbeContext(
                    client=connection.client,
                    load=connection.load,
                    clock=CLOCK,
                    configuration=Configuration(),
                    readiness=Readiness(started_ns=0, healthy_ns=0),
                    timeline=(),
                    seed=3,
                    **given,
                )
            )

    return CLOCK.run(main())


@pytest.mark.parametrize("name", ["ttft", "throughput", "long_context", "prefix_cache"])
def test_probes_measure_over_http(golden: Golden, name: str) -> None:
    """Every request succeeds, and every time is at least what the server takes by its script."""
    golden.reset()
    result = asked(golden, name)
    times = {t: v for t, v in result.metrics.items() if "ttft" in t and v is not None}

    assert result.status is ProbeStatus.MEASURED, result.reason
    assert result.requests_failed == {}
    assert times
    assert all(value >= 2_000_000 for value in times.values())
    generated = [row for row in golden.seen() if row["request_id"]]
    assert result.requests_sent == len(generated)


def counters(text: str) -> Mapping[str, float | None]:
    """The golden server's prefix counters."""
    rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {name.split("{")[0]: float(value) for name, value in rows.items()}
    return {
        "prefix_queries_tokens": found["vllm:prefix_cache_queries_total"],
        "prefix_hits_tokens": found["vllm:prefix_cache_hits_total"],
    }


def test_prefix_hits_are_read_as_growth_over_the_warm_requests(golden: Golden) -> None:
    """512 of 544 tokens come from the cache of a server that has served others before."""
    golden.reset()
    asked(golden, "throughput")
    result = asked(golden, "prefix_cache", gauges=counters)

    assert result.metrics["prefix_hit_ratio"] == pytest.approx(512 / 544)


@pytest.fixture(scope="module")
def reference(golden: Golden) -> dict[str, Any]:
    """The baseline's answers, through JSON as a stored record gives them."""
    golden.script(logprob_noise=0.0)
    result = asked(golden, "correctness")
    assert result.status is ProbeStatus.MEASURED, result.reason
    assert result.metrics["needle_recall_ratio"] == 1.0
    assert result.metrics["degenerate_answers_count"] == 0
    assert result.metrics["perplexity_ratio"] is None
    stored: dict[str, Any] = json.loads(json.dumps({"correctness": dict(result.reference)}))
    return stored


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_restarted_server_raises_no_alarm(reference: dict[str, Any], noise: float) -> None:
    """Another process with the same answers, exact or with 3% of noise, is correct."""
    with golden_server(ttft_ms=0, itl_ms=0, logprob_noise=noise) as other:
        result = asked(other, "correctness", baseline=reference)

    assert result.status is ProbeStatus.MEASURED, result.reason
    assert result.failure is None
    assert result.metrics["greedy_agreement_ratio"] == 1.0
    assert result.metrics["perplexity_ratio"] == pytest.approx(1.0, abs=0.05)
    assert result.reference == {}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"logprob_scale": 1.3}, "short prompts"),
        ({"logprob_scale": 1.3, "scale_beyond": 4000}, "prompts of 8192 tokens"),
        ({"other_words_beyond": 20_000, "logprob_scale": 1.2}, "prompts of"),
        ({"text": "loop"}, "repeats itself"),
        ({"text": "control"}, "control characters"),
        ({"cut_share": 0.3}, "cut short"),
        ({"template_tokens": 9}, "another chat template"),
        ({"forgets_beyond": 9000}, "needles lost"),
    ],
)
def test_wrong_answers_are_caught(
    reference: dict[str, Any], script: dict[str, Any], words: str
) -> None:
    """Each planted fault makes the probe FAILED with WRONG_ANSWERS and says what is wrong."""
    with golden_server(ttft_ms=0, itl_ms=0, **script) as other:
        result = asked(other, "correctness", baseline=reference)

    assert result.status is ProbeStatus.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.WRONG_ANSWERS
    assert any(words in line for line in result.failure.evidence)


def test_a_prompt_that_the_server_cuts_is_caught(reference: dict[str, Any]) -> None:
    """A server that counts fewer prompt tokens than were sent has not read the prompt."""
    with golden_server(ttft_ms=0, itl_ms=0, truncates_beyond=4096) as other:
        result = asked(other, "correctness", baseline=reference)

    assert result.failure is not None
    assert result.failure.kind is FailureKind.WRONG_ANSWERS
    assert result.requests_failed == {"wrong_length": 1}


def test_random_weights_step_aside_from_text_and_say_so(golden: Golden) -> None:
    """Log-probabilities are compared, answers and needles are not asked for."""
    golden.reset()
    result = asked(golden, "correctness", weights_are_random=True)

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["needle_recall_ratio"] is None
    assert result.metrics["degenerate_answers_count"] is None
    assert any("random weights" in note for note in result.notes)
    assert all(row["path"] == "/v1/completions" for row in golden.seen())


class Speechless:
    """A client whose completions say nothing, as where a model's next token is a special one."""

    def __init__(self, inner: Client, *, tells: bool) -> None:
        self._inner, self._tells = inner, tells
        self.get, self.post = inner.get, inner.post

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        record = await self._inner.generate(request, scheduled_ns=scheduled_ns)
        if request.prompt.chat:
            return record
        error = RequestError(kind=RequestErrorKind.EMPTY, message="the answer has no content")
        return replace(record, error=error, text="", raw=record.raw if self._tells else {})


@pytest.mark.parametrize("tells", [True, False])
def test_a_silent_token_is_judged_by_its_log_probabilities(golden: Golden, tells: bool) -> None:
    """With them it is an answer like any other; without, a failed request."""
    golden.script(logprob_noise=0.0)

    async def main() -> ProbeResult:
        connect = http_connector(CLOCK, processes=0)
        async with connect(base_url=golden.base_url, model="golden") as connection:
            client = Speechless(connection.client, tells=tells)
            return await PROBES["correctness"]().run(
                ProbeContext(
                    client=client,
                    load=connection.load,
                    clock=CLOCK,
                    workload=WORKLOAD,
                    configuration=Configuration(),
                    applied=Applied(max_model_len_tokens=40_960),
                    readiness=Readiness(started_ns=0, healthy_ns=0),
                    timeline=(),
                    seed=3,
                )
            )

    result = CLOCK.run(main())
    assert (result.status is ProbeStatus.MEASURED) is tells, result.reason
    assert bool(result.requests_failed) is not tells
