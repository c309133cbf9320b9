"""The first requests of a server, whose figures belong to nobody.

They pay for what is compiled or allocated on first use. Meanwhile the server is asked what it
runs with: vLLM's /server_info gathers the environment for one to two seconds when first asked,
which would otherwise be time in which nothing is done.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from autotune.seams.requests import Client, GenerationRequest, Prompt, Segment

T = TypeVar("T")

STREAMS: Final = 4
ROUNDS: Final = 2
_PROMPT_TOKENS: Final = 256
_OUTPUT_TOKENS: Final = 16
_MOST_ROUNDS: Final = 200
_SEED: Final = 0x57A2_3000
"""Far from the seeds of the probes, so that no probe's prompt shares a prefix with these."""


async def warm_up(client: Client, until: Coroutine[Any, Any, T], *, longest_tokens: int) -> T:
    """Send small requests, at least `ROUNDS` times `STREAMS`, until something else is done.

    What becomes of the requests does not matter here: a server that cannot answer is the probes'
    finding.

    Args:
        client: Of the server.
        until: What is waited for meanwhile; its result is returned, what it raises is raised.
        longest_tokens: Longest prompt that the server takes.
    """
    other = asyncio.ensure_future(until)
    try:
        for turn in range(_MOST_ROUNDS):
            if turn >= ROUNDS and other.done():
                break
            requests = [_request(turn, stream, longest_tokens) for stream in range(STREAMS)]
            records = await asyncio.gather(*(client.generate(request) for request in requests))
            if all(record.error is not None for record in records):
                break
        return await other
    finally:
        other.cancel()


def _request(turn: int, stream: int, longest_tokens: int) -> GenerationRequest:
    tokens = max(1, min(_PROMPT_TOKENS, longest_tokens - _OUTPUT_TOKENS))
    segment = Segment(seed=_SEED + turn * STREAMS + stream, tokens=tokens)
    return GenerationRequest(
        request_id=f"warm-up-{turn}-{stream}",
        prompt=Prompt(segments=(segment,)),
        max_tokens=_OUTPUT_TOKENS,
        timeout_s=60.0,
    )
