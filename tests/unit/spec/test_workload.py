"""Traffic as a study declares it."""

from typing import Any

import pytest

from autotune.errors import SpecError
from autotune.spec.files import validate
from autotune.spec.workload import Workload


def test_the_default_traffic_is_the_plans() -> None:
    """100 concurrent requests, prompts of 8K, 16K and 32K tokens, `max_tokens` 100 for TTFT."""
    workload = Workload()
    assert workload.concurrency == 100
    assert workload.long_context_tokens == (8192, 16384, 32768)
    assert workload.ttft_max_tokens == 100


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"concurency": 4}, "concurency"),
        ({"requests": 0}, "requests"),
        ({"output_tokens": 1}, "output_tokens"),
        ({"long_context_tokens": []}, "long_context_tokens"),
        ({"long_context_tokens": [8192, 0]}, "long_context_tokens -> 1"),
        ({"arrival": "bursty"}, "arrival"),
        ({"rate_requests_per_s": 0}, "rate_requests_per_s"),
        ({"telemetry_interval_s": 0}, "telemetry_interval_s"),
    ],
)
def test_bad_traffic_names_its_field(raw: dict[str, Any], field: str) -> None:
    """With a next step."""
    with pytest.raises(SpecError) as caught:
        validate(Workload, raw, where="workload")
    assert caught.value.message.startswith(f"workload: {field}: ")
    assert caught.value.hint


@pytest.mark.parametrize("arrival", ["constant", "poisson", "gamma"])
def test_open_loops_need_a_rate(arrival: str) -> None:
    """Requests that go out by the clock need to know how often."""
    with pytest.raises(SpecError, match="needs rate_requests_per_s"):
        validate(Workload, {"arrival": arrival}, where="workload")
    raw = {"arrival": arrival, "rate_requests_per_s": 2}
    assert validate(Workload, raw, where="workload").rate_requests_per_s == 2
