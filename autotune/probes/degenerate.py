"""Text that no working model gives: empty, looping, full of control characters. Pure."""

import unicodedata
from collections import Counter
from typing import Final

_ALLOWED_CONTROLS: Final = frozenset("\n\r\t")
_MAX_CONTROL_SHARE: Final = 0.02
_MAX_REPLACEMENT_SHARE: Final = 0.1
_GRAM_WORDS: Final = 4
_MIN_GRAMS: Final = 12
_MAX_GRAM_SHARE: Final = 0.3
_MIN_LOOP_CHARACTERS: Final = 40
_MAX_PERIOD: Final = 60
_MIN_LOOPS: Final = 5


def degeneracy(text: str) -> str | None:
    """What is wrong with an answer, in a few words; None if nothing is."""
    stripped = text.strip()
    if not stripped:
        return "empty"
    controls = sum(
        1 for c in text if unicodedata.category(c) == "Cc" and c not in _ALLOWED_CONTROLS
    )
    if controls > _MAX_CONTROL_SHARE * len(text):
        return "control characters"
    if text.count("\N{REPLACEMENT CHARACTER}") > _MAX_REPLACEMENT_SHARE * len(text):
        return "broken characters"
    return _repetition(stripped)


def _repetition(text: str) -> str | None:
    words = text.split()
    grams = Counter(tuple(words[i : i + _GRAM_WORDS]) for i in range(len(words) - _GRAM_WORDS + 1))
    total = sum(grams.values())
    if total >= _MIN_GRAMS and grams.most_common(1)[0][1] > _MAX_GRAM_SHARE * total:
        return "repeats itself"
    # A loop without spaces, or of a longer phrase: the end is one period again and again.
    for period in range(1, _MAX_PERIOD + 1):
        length = max(_MIN_LOOP_CHARACTERS, period * _MIN_LOOPS)
        if len(text) < length:
            break
        tail = text[-length:]
        if all(tail[i] == tail[i - period] for i in range(period, length)):
            return "repeats itself"
    return None
