"""What vLLM itself says of the requests it has served: the truth that both clients share.

Two loads in turn meet two machines: other work, other clocks. Each client's figure over the
server's own of the same load is free of that.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from autotune.clock import Clock
from autotune.load.connect import http_connector
from benchmarks.vllm_cpu import NAME

_TTFT = "vllm:time_to_first_token_seconds"
_E2E = "vllm:e2e_request_latency_seconds"
_SETTLE_S = 0.5  # counters are brought up to date after the last answer has left


@dataclass(frozen=True)
class ServerAccount:
    """Sums of vLLM's histograms since its start, in seconds, and of how many requests."""

    ttft_s: float
    e2e_s: float
    requests: float

    @classmethod
    async def of(cls, url: str, clock: Clock) -> Self:
        """What the server says now.

        Raises:
            AssertionError: If it says nothing.
        """
        await asyncio.sleep(_SETTLE_S)
        async with http_connector(clock, processes=0)(base_url=url, model=NAME) as connection:
            answer = await connection.client.get("/metrics")
        assert answer is not None, f"nobody answers at {url}/metrics"
        return cls.read(answer.text)

    @classmethod
    def read(cls, text: str) -> Self:
        """From the text of /metrics."""
        values = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if family.name in {_TTFT, _E2E}
        }
        return cls(values[f"{_TTFT}_sum"], values[f"{_E2E}_sum"], values[f"{_E2E}_count"])

    def __sub__(self, before: "ServerAccount") -> "ServerAccount":
        return ServerAccount(
            self.ttft_s - before.ttft_s, self.e2e_s - before.e2e_s, self.requests - before.requests
        )

    @property
    def ttft_mean_ms(self) -> float:
        """From a request's arrival in the front end to its first token there."""
        return self.ttft_s / self.requests * 1000
