"""How a load is dealt out to processes."""

import pytest

from autotune.clock import MonotonicClock
from autotune.load import workers
from autotune.load.client import HttpClient
from autotune.load.workers import ProcessLoad, split, split_warmup
from autotune.seams.requests import GenerationRequest, LoadPlan, Prompt


def plan(count: int, concurrency: int, *, warmup: int = 0, is_open: bool = False) -> LoadPlan:
    """A plan of so many requests."""
    requests = tuple(
        GenerationRequest(request_id=str(i), prompt=Prompt(text="x"), max_tokens=1)
        for i in range(count)
    )
    offsets = tuple(range(count)) if is_open else None
    return LoadPlan(
        requests=requests, concurrency=concurrency, warmup_requests=warmup, offsets_ns=offsets
    )


def test_requests_are_dealt_in_turn_and_concurrency_is_shared() -> None:
    """Ten requests at five streams over two processes: three streams and two."""
    parts = split(plan(10, 5), 2)

    assert [[r.request_id for r in part.requests] for _, part in parts] == [
        ["0", "2", "4", "6", "8"],
        ["1", "3", "5", "7", "9"],
    ]
    assert [part.concurrency for _, part in parts] == [3, 2]
    assert [list(which) for which, _ in parts] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_no_process_is_without_a_stream() -> None:
    """More processes than streams are not used."""
    parts = split(plan(10, 2), 8)

    assert [part.concurrency for _, part in parts] == [1, 1]


def test_an_open_loop_keeps_each_request_with_its_time() -> None:
    """Offsets go with their requests."""
    parts = split(plan(5, 1, is_open=True), 2)

    assert [part.offsets_ns for _, part in parts] == [(0, 2, 4), (1, 3)]


def test_the_warm_up_is_a_load_of_its_own() -> None:
    """All processes finish warming up before any begins to measure; an open loop has no barrier."""
    warm, rest = split_warmup(plan(10, 5, warmup=3))

    assert (len(warm.requests), len(rest.requests)) == (3, 7)
    assert rest.warmup_requests == 0

    warm, rest = split_warmup(plan(10, 5, warmup=3, is_open=True))

    assert (len(warm.requests), len(rest.requests)) == (0, 10)


@pytest.mark.parametrize(
    ("cores", "fixed", "streams", "is_open", "count"),
    [
        (16, None, 1, False, 1),
        (16, None, 128, False, 1),
        (16, None, 129, False, 2),
        (16, None, 900, False, 8),
        (2, None, 900, False, 1),
        (16, None, 1, True, 8),
        (16, 3, 900, False, 3),
        (2, 3, 900, False, 3),
    ],
)
def test_processes_go_by_streams_and_cores(  # noqa: PLR0917 - a table
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    fixed: int | None,
    streams: int,
    is_open: bool,
    count: int,
) -> None:
    """One process per 128 streams, one core left free, unless the number is given."""
    monkeypatch.setattr(workers.os, "cpu_count", lambda: cores)
    clock = MonotonicClock()
    client = HttpClient(base_url="http://nowhere", model="m", clock=clock)
    load = ProcessLoad(client, clock, processes=fixed)

    assert count == load._count(plan(1000, streams, is_open=is_open))
