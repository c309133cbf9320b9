"""What vLLM's `prompt_logprobs` say of a prompt's tokens. Pure.

For each position vLLM gives None (the first) or a mapping of token id to `{"logprob", "rank",
"decoded_token"}`: the prompt's own token first, whatever its rank, and with `prompt_logprobs` over
0 so many of the likeliest (vLLM 0.32 `v1/engine/logprobs.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any


def prompt_token_logprobs(answer: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Log-probability of each prompt token."""
    return tuple(
        float(next(iter(row.values()))["logprob"]) if isinstance(row, Mapping) and row else None
        for row in _rows(answer)
    )


def prompt_top_logprobs(
    answer: Mapping[str, Any], count: int
) -> tuple[Mapping[str, float] | None, ...]:
    """Token id to log-probability of the likeliest `count` tokens at each position."""
    return tuple(
        {token: float(v["logprob"]) for token, v in row.items() if 0 < int(v["rank"]) <= count}
        if isinstance(row, Mapping) and row
        else None
        for row in _rows(answer)
    )


def _rows(answer: Mapping[str, Any]) -> Sequence[Any]:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first.get("prompt_logprobs") or answer.get("prompt_logprobs") or ()
