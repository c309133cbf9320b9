"""English text made by rule: the same seed gives the same text, of any length.

Used where an answer's words matter (needles in a haystack). Sentences are plain and vary; no text
of anybody's is copied.
"""

import random
from typing import Final

_SUBJECTS: Final = (
    "The old harbour", "A quiet village", "The travelling merchant", "Every spring market",
    "The northern railway", "A careful gardener", "The council of the town", "The morning ferry",
    "An early frost", "The stone bridge", "A family of weavers", "The school by the river",
)  # fmt: skip
_VERBS: Final = (
    "changed slowly after", "was well known for", "depended on", "had little use for",
    "was built before", "lost its way during", "made room for", "kept a record of",
    "could not do without", "was repaired after",
)  # fmt: skip
_OBJECTS: Final = (
    "the long winter", "the trade in wool", "the second flood", "a new kind of lamp",
    "the salt road", "the songs of the valley", "its three narrow gates", "the price of barley",
    "a visit from the capital", "the clock on the square",
)  # fmt: skip
_ENDINGS: Final = (
    ".", ", and nobody was surprised.", ", as the older people say.", ", at least for a while.",
    "; the reasons are still disputed.", ", which cost more than was planned.",
)  # fmt: skip


def sentences(seed: int, *, words: int) -> list[str]:
    """Whole sentences with about so many words together, never more."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    made: list[str] = []
    while True:
        start = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)}"
        sentence = start + rng.choice(_ENDINGS)
        words -= len(sentence.split())
        if words < 0:
            return made
        made.append(sentence)
