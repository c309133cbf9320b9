"""When the client says that it, not the server, set the figures."""

import pytest

from autotune.load.selfcheck import client_bound
from autotune.seams.requests import GenerationRequest, LoadPlan, Prompt, RequestRecord
from tests.unit.load.records import MS, record

REQUEST = GenerationRequest(request_id="r", prompt=Prompt(text="x"), max_tokens=1)
CLOSED = LoadPlan(requests=(REQUEST,))
OPEN = LoadPlan(requests=(REQUEST,), offsets_ns=(0,))
SHARED = LoadPlan(requests=(REQUEST,), max_client_lag_ns=1000 * MS)
FAST = [record(0, 20, chunks=2)]  # TTFT 20 ms, end-to-end 30 ms
SLOW = [record(0, 2000, chunks=2, gap_ms=8000)]  # TTFT 2 s, end-to-end 10 s


@pytest.mark.parametrize(
    ("plan", "records", "seen", "bound"),
    [
        (CLOSED, FAST, (1, 0.3, 1), False),
        (OPEN, FAST, (11, 0.3, 1), True),
        (CLOSED, FAST, (11, 0.3, 1), True),
        (CLOSED, SLOW, (190, 0.3, 1), False),
        (CLOSED, SLOW, (210, 0.3, 1), True),
        (OPEN, SLOW, (60, 0.3, 1), True),
        (CLOSED, FAST, (1, 0.95, 1), True),
        (CLOSED, FAST, (1, 0.3, 6), True),
        (CLOSED, SLOW, (1, 0.3, 60), False),
        (CLOSED, SLOW, (1, 0.3, 110), True),
        (CLOSED, FAST, (None, None, None), False),
        (SHARED, FAST, (900, 0.3, 900), False),
        (SHARED, FAST, (1100, 0.3, 1), True),
        (SHARED, FAST, (1, 0.3, 1100), True),
    ],
)
def test_lag_cpu_and_a_late_event_loop_are_held_against_the_server(
    plan: LoadPlan,
    records: list[RequestRecord],
    seen: tuple[float | None, float | None, float | None],
    bound: bool,
) -> None:
    """10 ms of lag, 90% of a CPU or 5 ms of lateness are too much; a slow server forgives more."""
    lag_ms, cpu_ratio, loop_ms = seen
    reason = client_bound(
        plan,
        records,
        lag_p99_ns=None if lag_ms is None else round(lag_ms * MS),
        cpu_ratio=cpu_ratio,
        loop_lag_p99_ns=None if loop_ms is None else round(loop_ms * MS),
    )

    assert bound is (reason is not None)
