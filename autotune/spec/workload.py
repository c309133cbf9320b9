"""What is asked of each deployment: sizes and counts of every probe."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from autotune.spec.files import StrictModel


class Workload(StrictModel):
    """Traffic, declared in a study file under `workload`.

    Prompts are synthetic with exact token lengths unless `dataset` names a file.
    """

    # Test 2
    ttft_repeats: int = Field(default=5, ge=1, le=1000)
    ttft_max_tokens: int = Field(default=100, ge=1)
    # Test 3
    concurrency: int = Field(default=100, ge=1, le=10_000)
    requests: int = Field(default=300, ge=1, le=1_000_000)
    prompt_tokens: int = Field(default=512, ge=1)
    output_tokens: int = Field(default=128, ge=2)
    warmup_requests: int = Field(default=16, ge=0)
    arrival: str = Field(default="closed", pattern=r"^(closed|constant|poisson|gamma)$")
    rate_requests_per_s: float | None = Field(default=None, gt=0)
    burstiness: float = Field(default=1.0, gt=0)
    dataset: str | None = None
    # Test 4
    long_context_tokens: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(8192, 16384, 32768), min_length=1
    )
    long_context_output_tokens: int = Field(default=64, ge=2)
    long_context_repeats: int = Field(default=2, ge=1)
    # Test 5
    prefix_tokens: int = Field(default=4096, ge=16)
    prefix_repeats: int = Field(default=4, ge=1)
    revisit_document_tokens: int = Field(default=4096, ge=16)
    revisit_over_capacity: float = Field(default=1.25, gt=0)
    revisit_max_documents: int = Field(default=64, ge=2)
    # Whole trial
    request_timeout_s: float = Field(default=600.0, gt=0)
    probe_timeout_s: float = Field(default=1800.0, gt=0)
    # How late the load generator may be before it calls its figures its own; the default is
    # strict (10 ms to send, 5 ms to read). To be loosened only where engine and load generator
    # share the processor, as with vLLM on the CPU.
    client_lag_ms: float | None = Field(default=None, gt=0)
    telemetry_interval_s: float = Field(default=0.5, gt=0)
    # Capacity
    slo_ttft_s: float = Field(default=2.0, gt=0)
    slo_itl_s: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _open_loop_has_a_rate(self) -> Self:
        if self.arrival != "closed" and self.rate_requests_per_s is None:
            message = f"arrival {self.arrival!r} needs rate_requests_per_s"
            raise ValueError(message)
        return self
