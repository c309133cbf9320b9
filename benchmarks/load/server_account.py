"""What vLLM itself says of the requests it has served: the truth that both clients share.

Two loads in turn meet two machines: other work, other clocks. Each client's figure over the
server's own of the same load is free of that. The server stamps requests by `stamps.Stamps`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from autotune.clock import Clock
from autotune.load.connect import http_connector
from benchmarks.load.stamps import PATH
from benchmarks.vllm_cpu import NAME


@dataclass(frozen=True)
class ServerAccount:
    """Sums over the requests of one load, in seconds, and how many they were."""

    ttft_s: float
    e2e_s: float
    requests: int

    @classmethod
    async def of(cls, url: str, clock: Clock, prefix: str) -> Self:
        """What the server says of requests whose id begins with `prefix`.

        Raises:
            AssertionError: If it says nothing.
        """
        async with http_connector(clock, processes=0)(base_url=url, model=NAME) as connection:
            answer = await connection.client.get(PATH)
        assert answer is not None, f"nobody answers at {url}{PATH}"
        assert answer.status == 200, (
            f"{url} runs without --middleware benchmarks.load.stamps.Stamps"
        )
        return cls.read(json.loads(answer.text), prefix)

    @classmethod
    def read(cls, rows: Sequence[Mapping[str, Any]], prefix: str) -> Self:
        """From the rows of `stamps.Stamps`."""
        own = [row for row in rows if row["request_id"].startswith(prefix)]
        return cls(
            sum(row["first_send_ns"] - row["received_ns"] for row in own) / 1e9,
            sum(row["last_send_ns"] - row["received_ns"] for row in own) / 1e9,
            len(own),
        )

    @property
    def ttft_mean_ms(self) -> float:
        """From a request's arrival in the front end to the first token's way out of it."""
        return self.ttft_s / self.requests * 1000
