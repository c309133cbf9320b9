"""autotune's own load generator as a command, so that it is measured like its peers.

python -m benchmarks.load.ours URL REQUESTS CONCURRENCY OUTPUT_TOKENS OUT.json
"""

import json
import sys
from pathlib import Path

from autotune.clock import MonotonicClock
from autotune.load.connect import http_connector
from autotune.seams.requests import GenerationRequest, LoadPlan, LoadResult, Prompt, Segment

PROMPT_TOKENS = 64


def main() -> None:
    """Send the load, write what was seen."""
    url, requests, concurrency, tokens, out = sys.argv[1:6]
    clock = MonotonicClock()

    async def load() -> LoadResult:
        async with http_connector(clock)(base_url=url, model="golden") as connection:
            return await connection.load.run(
                LoadPlan(
                    requests=tuple(
                        GenerationRequest(
                            request_id=f"r{i}",
                            prompt=Prompt(segments=(Segment(i, PROMPT_TOKENS),)),
                            max_tokens=int(tokens),
                        )
                        for i in range(int(requests))
                    ),
                    concurrency=int(concurrency),
                )
            )

    result = clock.run(load())
    Path(out).write_text(
        json.dumps(
            {
                "requests": [
                    [r.request_id, r.ttft_ns, r.output_tokens, r.error is None]
                    for r in result.records
                ],
                "client_bound": result.client_bound,
                "schedule_lag_p99_ns": result.schedule_lag_p99_ns,
                "client_cpu_ratio": result.client_cpu_ratio,
            }
        )
    )


if __name__ == "__main__":
    main()
