"""Dealing a load out loses and doubles nothing."""

from hypothesis import given
from hypothesis import strategies as st

from autotune.load.workers import split
from autotune.seams.requests import GenerationRequest, LoadPlan, Prompt


@given(
    count=st.integers(1, 60),
    concurrency=st.integers(1, 80),
    processes=st.integers(1, 9),
    is_open=st.booleans(),
)
def test_every_request_goes_to_one_process(
    count: int, concurrency: int, processes: int, is_open: bool
) -> None:
    """Positions are a partition of the plan, and streams add up to its concurrency."""
    requests = tuple(
        GenerationRequest(request_id=str(i), prompt=Prompt(text="x"), max_tokens=1)
        for i in range(count)
    )
    plan = LoadPlan(
        requests=requests,
        concurrency=concurrency,
        offsets_ns=tuple(range(count)) if is_open else None,
    )

    parts = split(plan, processes)

    assert 1 <= len(parts) <= processes
    assert sorted(i for which, _ in parts for i in which) == list(range(count))
    for which, part in parts:
        assert part.requests == tuple(requests[i] for i in which)
        assert part.requests
        if is_open:
            assert part.offsets_ns == tuple(which)
    if not is_open:
        assert sum(part.concurrency for _, part in parts) == min(concurrency, count)
        assert all(part.concurrency >= 1 for _, part in parts)
