"""Prompts have exactly the tokens asked for, and share what they are asked to share."""

from autotune.load.prompts import WORDS, Vocabulary, draw
from autotune.seams.requests import Segment

IDS = Vocabulary(token_ids=tuple(range(100, 400)))
TEXT = Vocabulary(words=WORDS, added_tokens=1)


def test_token_ids_are_as_many_as_the_segments_say() -> None:
    """Lengths add up, and every id is one of the vocabulary's."""
    payload = IDS.payload((Segment(1, 700), Segment(2, 324)))

    assert isinstance(payload, list)
    assert len(payload) == 1024
    assert set(payload) <= set(IDS.token_ids)


def test_equal_leading_segments_are_an_equal_prefix_and_no_more() -> None:
    """Prompts share their common segments; after them they differ at once, block by block."""
    first = IDS.payload((Segment(1, 64), Segment(2, 64)))
    second = IDS.payload((Segment(1, 64), Segment(3, 64)))

    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[:64] == second[:64]
    assert first[64:80] != second[64:80]


def test_prompts_of_ten_thousand_seeds_differ_in_their_first_block() -> None:
    """No prefix of 16 tokens is shared by accident."""
    blocks = {tuple(draw(len(IDS.token_ids), Segment(seed, 16))) for seed in range(10_000)}

    assert len(blocks) == 10_000


def test_text_leaves_room_for_what_the_server_adds() -> None:
    """A server that puts a mark before the text gets one word less."""
    payload = TEXT.payload((Segment(1, 20),))

    assert isinstance(payload, str)
    assert len(payload.split()) == 19
    assert payload.startswith(" ")


def test_text_with_a_common_prefix_has_a_common_prefix() -> None:
    """What is cut for the server's mark is cut at the end."""
    first = TEXT.payload((Segment(1, 20), Segment(2, 5)))
    second = TEXT.payload((Segment(1, 20), Segment(3, 5)))

    assert isinstance(first, str)
    assert isinstance(second, str)
    assert first.split()[:20] == second.split()[:20]


def test_too_few_words_make_no_prompt() -> None:
    """Without a vocabulary there is no prompt of exact length, and None says so."""
    assert Vocabulary().payload((Segment(1, 4),)) is None
    assert Vocabulary(words=("a",) * 3).payload((Segment(1, 4),)) is None


def test_any_whole_number_is_a_seed() -> None:
    """Negative and huge seeds give prompts too, and different ones."""
    drawn = [draw(1000, Segment(seed, 8)) for seed in (-1, 0, 2**70 + 5)]

    assert len({tuple(d) for d in drawn}) == 3
