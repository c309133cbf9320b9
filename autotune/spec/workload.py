"""What is asked of each deployment: sizes and counts of every probe."""

from typing import Self

from pydantic import Field, model_validator

from autotune.spec.bounds import MOST_TOKENS, Bounded, Count, SecondsAboveZero, Tokens
from autotune.spec.files import StrictModel, pattern

ARRIVALS = pattern(
    r"^(closed|constant|poisson|gamma)$", "one of closed, constant, poisson and gamma"
)


class Workload(StrictModel):
    """Traffic, declared in a study file under `workload`.

    Prompts are synthetic with exact token lengths unless `dataset` names a file.
    """

    # Test 2
    ttft_repeats: int = Field(default=5, ge=1, le=1000)
    ttft_max_tokens: Tokens = 100
    # Test 3
    concurrency: int = Field(default=100, ge=1, le=10_000)
    requests: Count = 300
    prompt_tokens: Tokens = 512
    output_tokens: int = Field(default=128, ge=2, le=MOST_TOKENS)
    warmup_requests: int = Field(default=16, ge=0, le=10_000)
    arrival: str = Field(default="closed", pattern=ARRIVALS)
    rate_requests_per_s: Bounded | None = None
    burstiness: Bounded = 1.0
    dataset: str | None = None
    # Test 4
    long_context_tokens: tuple[Tokens, ...] = Field(default=(8192, 16384, 32768), min_length=1)
    long_context_output_tokens: int = Field(default=64, ge=2, le=MOST_TOKENS)
    long_context_repeats: int = Field(default=2, ge=1, le=1000)
    # Test 5
    prefix_tokens: int = Field(default=4096, ge=16, le=MOST_TOKENS)
    prefix_repeats: int = Field(default=4, ge=1, le=1000)
    revisit_document_tokens: int = Field(default=4096, ge=16, le=MOST_TOKENS)
    revisit_over_capacity: Bounded = 1.25
    revisit_max_documents: int = Field(default=64, ge=2, le=100_000)
    # The same for every configuration: with as many as its cache holds, one with twice the cache
    # would be asked twice as much at once, and its first tokens would look late.
    revisit_concurrency: int = Field(default=8, ge=1, le=10_000)
    # Whole trial
    request_timeout_s: SecondsAboveZero = 600.0
    probe_timeout_s: SecondsAboveZero = 1800.0
    # How late the load generator may be before it calls its figures its own; the default is
    # strict (10 ms to send, 5 ms to read). To be loosened only where engine and load generator
    # share the processor, as with vLLM on the CPU.
    client_lag_ms: Bounded | None = None
    telemetry_interval_s: SecondsAboveZero = 0.5
    # Capacity, and goodput in test 3
    slo_ttft_s: SecondsAboveZero = 2.0
    slo_itl_s: SecondsAboveZero = 0.1

    @model_validator(mode="after")
    def _open_loop_has_a_rate(self) -> Self:
        if self.arrival != "closed" and self.rate_requests_per_s is None:
            message = f"arrival {self.arrival!r} needs rate_requests_per_s"
            raise ValueError(message)
        return self
