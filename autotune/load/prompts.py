"""Synthetic prompts of exactly so many tokens.

A prompt is a tuple of segments (seed, tokens). Here a segment becomes token ids, drawn from ids
that the server's own tokenizer gave for plain words, so none is special and each is valid. vLLM's
/v1/completions takes token ids as `prompt` and adds nothing to them. A server without /tokenize
gets text instead, made of words that its usage has shown to be one token each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from autotune.seams.requests import Segment

T = TypeVar("T")

MIN_VOCABULARY: Final = 8

# Common English words: one token each in nearly every vocabulary of a language model.
_WORDS: Final = """
the of and to in is that for it as was with be by on not he his but at are this have from or
had an they which one you were all her she there would their we him been has when who will no
more if out so up said what its about than into them can only other time new some could these
two may first then do any like my now over such our man me even most made after also did many
off before must well back through years where much your way down should because long each just
state those people too good how little world great very here old life both between never under
last us might day came same right house while another found place water light small large hand
high school part during without again around every upon thought night home away head white
room country once form early later often number point city young ground side power order face
money story business problem question family group area always body person name several given
change play government system second nothing second whole company court local human kind best
air feet land reason mind full voice door market road true table fact river mother father week
month music paper season sound stone summer winter garden window morning evening north south
east west green black blue brown simple strong clear free open close short special certain
"""
WORDS: Final = tuple(dict.fromkeys(_WORDS.split()))


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What prompts are made of.

    Attributes:
        token_ids: Ids of plain words; empty if the server takes text only.
        words: Words that are one token each with a space before them, for text.
        added_tokens: Tokens that the server adds to a text prompt (a beginning-of-text mark).
        source: How this was learnt.
    """

    token_ids: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    added_tokens: int = 0
    source: str = ""

    def payload(self, segments: Sequence[Segment]) -> str | list[int] | None:
        """A prompt of exactly the segments' tokens; None if the words do not suffice."""
        if len(self.token_ids) >= MIN_VOCABULARY:
            return _drawn(self.token_ids, segments)
        if len(self.words) < MIN_VOCABULARY:
            return None
        drawn = _drawn(self.words, segments)
        # A server's own tokens come first: text is shortened at its end, where no prefix is hurt.
        kept = drawn[: max(1, len(drawn) - self.added_tokens)]
        return " " + " ".join(kept)


def _drawn(pool: Sequence[T], segments: Sequence[Segment]) -> list[T]:
    return [pool[i] for segment in segments for i in draw(len(pool), segment)]


def draw(size: int, segment: Segment) -> list[int]:
    """Indices below `size`, as many as the segment has tokens: a pure function of its seed."""
    # numpy takes no negative seeds: whole numbers are folded onto the natural ones.
    seed = 2 * segment.seed if segment.seed >= 0 else -2 * segment.seed - 1
    rng = np.random.default_rng(seed)
    indices: list[int] = rng.integers(size, size=segment.tokens).tolist()
    return indices
