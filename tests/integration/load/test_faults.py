"""Every way in which the golden server can fail is seen for what it is."""

from collections.abc import Iterator

import pytest

from autotune.clock import MonotonicClock
from autotune.load.connect import http_connector
from autotune.seams.requests import (
    GenerationRequest,
    LoadPlan,
    Prompt,
    RequestErrorKind,
    RequestRecord,
    Segment,
)
from tests.support.golden import Golden, golden_server

CLOCK = MonotonicClock()


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    """One golden server for this file."""
    with golden_server(ttft_ms=0, itl_ms=0) as server:
        yield server


def request(name: str, fault: str, *, timeout_s: float = 20, **script: object) -> GenerationRequest:
    """A request whose answer fails in one way."""
    return GenerationRequest(
        request_id=name,
        prompt=Prompt(segments=(Segment(hash(name), 40),)),
        max_tokens=8,
        timeout_s=timeout_s,
        extra={"golden": {"fault": fault, **script}},
    )


def answered(
    base_url: str, *requests: GenerationRequest, processes: int = 0
) -> list[RequestRecord]:
    """The records of a load of these requests, one at a time."""

    async def main() -> list[RequestRecord]:
        connect = http_connector(CLOCK, processes=processes)
        async with connect(base_url=base_url, model="golden") as connection:
            return list((await connection.load.run(LoadPlan(requests=requests))).records)

    return CLOCK.run(main())


@pytest.mark.parametrize(
    ("fault", "kind", "chunks"),
    [
        ("hang_up", RequestErrorKind.CUT_OFF, 0),
        ("status", RequestErrorKind.STATUS, 0),
        ("cut_off", RequestErrorKind.CUT_OFF, 3),
        ("no_end_mark", RequestErrorKind.CUT_OFF, 3),
        ("empty", RequestErrorKind.EMPTY, 0),
        ("wrong_length", RequestErrorKind.WRONG_LENGTH, 7),
        ("error_in_stream", RequestErrorKind.IN_STREAM, 3),
        ("malformed", RequestErrorKind.MALFORMED, 3),
        ("malformed_http", RequestErrorKind.MALFORMED, 3),
        ("no_usage", RequestErrorKind.NO_USAGE, 8),
        ("truncated_prompt", RequestErrorKind.WRONG_LENGTH, 8),
    ],
)
def test_each_fault_has_its_kind_and_harms_no_other_request(
    golden: Golden, fault: str, kind: RequestErrorKind, chunks: int
) -> None:
    """The failed request says how it failed; the ones before and after it are good."""
    records = answered(
        golden.base_url, request("before", ""), request(fault, fault), request("after", "")
    )
    error = records[1].error

    assert [records[0].error, records[2].error] == [None, None]
    assert error is not None
    assert kind is error.kind
    assert len(records[1].chunk_ns) == chunks
    assert records[1].end_ns >= records[1].sent_ns > 0


def test_a_stream_that_goes_silent_times_out(golden: Golden) -> None:
    """A stall ends at the request's time limit, with what had arrived."""
    record = answered(golden.base_url, request("stall", "stall", timeout_s=0.4))[0]

    assert record.error is not None
    assert record.error.kind is RequestErrorKind.TIMEOUT
    assert len(record.chunk_ns) == 3


def test_a_server_that_is_not_there_refuses() -> None:
    """No connection is its own kind; and the prompts' tokens cannot be learnt from nobody."""
    literal = GenerationRequest(request_id="r", prompt=Prompt(text="Hello"), max_tokens=1)
    synthetic = request("s", "")

    refused, unknown = answered("http://127.0.0.1:9", literal, synthetic)

    assert refused.error is not None
    assert refused.error.kind is RequestErrorKind.REFUSED
    assert unknown.error is not None


def test_the_status_and_the_servers_words_are_kept(golden: Golden) -> None:
    """A refusal carries its HTTP status and text."""
    record = answered(golden.base_url, request("status", "status", status=429))[0]

    assert record.error is not None
    assert record.error.status == 429
    assert "as scripted" in record.error.message


def test_faults_cross_the_border_of_processes(golden: Golden) -> None:
    """A worker's failed request is as failed as one's own."""
    records = answered(golden.base_url, request("a", "cut_off"), request("b", ""), processes=1)

    assert records[0].error is not None
    assert records[0].error.kind is RequestErrorKind.CUT_OFF
    assert records[1].error is None


def test_a_connection_that_the_server_closed_is_replaced_without_a_failure(golden: Golden) -> None:
    """A kept connection that went stale costs nothing: the request goes out on a fresh one."""
    records = answered(golden.base_url, *(request(f"k{i}", "") for i in range(5)))

    assert [r.error for r in records] == [None] * 5
