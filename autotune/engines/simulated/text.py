"""The words of a simulated answer: no language, but the same ones for the same prompt."""

import hashlib
from typing import Final

_VOCABULARY: Final = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or "
    "had an they which one you were all her she there would their we him been has when who will no "
    "more if out so up said what its about than into them can only other time new some could these"
)
_WORDS: Final = tuple(_VOCABULARY.split())


def words(key: str, tokens: int) -> str:
    """So many words, one per token, that follow from a key."""
    picked = []
    digest = hashlib.sha256(key.encode()).digest()
    for index in range(tokens):
        if index and index % 32 == 0:
            digest = hashlib.sha256(digest).digest()
        picked.append(_WORDS[(digest[index % 32] + index) % len(_WORDS)])
    return " ".join(picked)
