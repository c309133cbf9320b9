"""VLLM's `prompt_logprobs`, as they come in an answer."""

import pytest

from autotune.load.prompt_logprobs import prompt_token_logprobs, prompt_top_logprobs


def entry(logprob: float, rank: int) -> dict[str, object]:
    """One token of a position."""
    return {"logprob": logprob, "rank": rank, "decoded_token": "x"}


ROWS = [
    None,
    {"7": entry(-2.5, 9), "1": entry(-0.5, 1), "2": entry(-1.5, 2)},
    {"2": entry(-0.9, 2), "1": entry(-0.8, 1)},
]


@pytest.mark.parametrize(
    "answer", [{"choices": [{"prompt_logprobs": ROWS}]}, {"choices": [{}], "prompt_logprobs": ROWS}]
)
def test_the_first_entry_of_a_position_is_the_prompts_own_token(answer: dict[str, object]) -> None:
    """Whatever its rank; the first token follows from nothing."""
    assert prompt_token_logprobs(answer) == (None, -2.5, -0.9)


def test_the_likeliest_go_by_their_rank() -> None:
    """The own token is one of them only if it is likely."""
    answer = {"choices": [{"prompt_logprobs": ROWS}]}
    assert prompt_top_logprobs(answer, 2) == (
        None,
        {"1": -0.5, "2": -1.5},
        {"2": -0.9, "1": -0.8},
    )
    assert prompt_top_logprobs(answer, 1) == (None, {"1": -0.5}, {"1": -0.8})


def test_an_answer_without_any_gives_nothing() -> None:
    """A server that does not know the field leaves it out."""
    assert prompt_token_logprobs({"choices": [{}]}) == ()
    assert prompt_top_logprobs({"choices": []}, 5) == ()
