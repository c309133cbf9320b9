"""The texts of the benchmark that holds our figures against those of `vllm bench serve`."""

import pytest

from benchmarks.load.agree_with_vllm import MOST_CHARACTERS, text_of


@pytest.mark.parametrize("characters", [8, 150, 900, MOST_CHARACTERS])
def test_a_text_has_as_many_ascii_characters_as_asked(characters: int) -> None:
    """So that no tokenizer makes more tokens of it: 1,024 is where prompts are dropped."""
    texts = [text_of(seed, characters) for seed in range(50)]
    assert {len(text.encode()) for text in texts} == {characters}
    assert all(text.isascii() for text in texts)


def test_texts_of_different_seeds_differ() -> None:
    """A repeated prompt would be answered from a cache."""
    assert len({text_of(seed, 900) for seed in range(500)}) == 500
