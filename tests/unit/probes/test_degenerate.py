"""What counts as degenerate text, and what does not."""

import pytest

from autotune.probes.degenerate import degeneracy
from autotune.probes.prose import sentences

ESSAY = (
    "The sky is blue because air scatters short waves of light more than long ones. "
    "At sunset the light has a longer way to go, so most of the blue is gone and red remains."
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("\x07\x07 hello", "control characters"),
        ("\ufffd\ufffd\ufffd abc", "broken characters"),
        ("the cat sat on the mat and " * 8, "repeats itself"),
        ("!" * 60, "repeats itself"),
        ("Here it comes: " + "abcabc" * 20, "repeats itself"),
        ("A good start, then a loop. " + "I do not know. " * 12, "repeats itself"),
    ],
)
def test_degenerate_text_is_named(text: str, what: str) -> None:
    """Empty, control characters, broken bytes, loops of words or of characters."""
    assert what == degeneracy(text)


@pytest.mark.parametrize(
    "text",
    [
        ESSAY,
        "2, 3, 5, 7, 11, 13, 17, 19, 23, 29",
        "17 + 5 = 22",
        "Paris, on the Seine.",
        "def push(stack, item):\n\tstack.append(item)\n",
        "很好。今天天气不错。我们去公园吧。",
        " ".join(sentences(3, words=300)),
        "- one\n- two\n- three\n- four\n- five\n- six\n",
    ],
)
def test_ordinary_text_is_not(text: str) -> None:
    """Prose, lists, numbers, code and other scripts are fine."""
    assert degeneracy(text) is None


def test_prose_is_seeded_and_no_longer_than_asked() -> None:
    """The same seed gives the same text; whole sentences within the words asked for."""
    assert sentences(5, words=200) == sentences(5, words=200)
    assert sentences(5, words=200) != sentences(6, words=200)
    assert 180 < len(" ".join(sentences(5, words=200)).split()) <= 200
