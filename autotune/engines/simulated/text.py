"""The words of a simulated model: no language, but the same ones for the same prompt.

Log-probabilities follow from the prompt as well, so two honest servers agree, and one whose
answers are wrong (see `faults`) does not. A number that a prompt says and asks for is recalled.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_VOCABULARY: Final = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or "
    "had an they which one you were all her she there would their we him been has when who will no "
    "more if out so up said what its about than into them can only other time new some could these"
)
_WORDS: Final = tuple(_VOCABULARY.split())
_FACT: Final = re.compile(r"number of the (\w+) is (\d+)")
_QUESTION: Final = re.compile(r"number of the (\w+)\?")
_FIRST_ID: Final = 1000


@dataclass(frozen=True)
class Token:
    """One generated token."""

    text: str
    logprob: float
    others: Mapping[str, float]


class Words:
    """The answer to one prompt, token by token.

    Args:
        key: What the answer follows from: the prompt's text or its token ids as text.
        question: The prompt's text, where it has one: numbers are recalled from it.
        wrong: Answer something else, of other probability.
    """

    def __init__(self, key: str, *, question: str = "", wrong: bool = False) -> None:
        self._digest = hashlib.sha256(f"{key}\0{wrong}".encode()).digest()
        self._wrong = wrong
        recalled = None if wrong else recall(question)
        self._answer = () if recalled is None else (f" {recalled}",)

    def token(self, index: int) -> Token:
        """The token at a position of the answer."""
        noise = hashlib.sha256(self._digest + index.to_bytes(4, "big")).digest()
        if self._wrong:  # a model whose numbers are broken says one thing again and again
            return Token(" the", -6.0 - noise[0] / 64, {" the": -6.0 - noise[0] / 64})
        text = self._answer[index] if index < len(self._answer) else f" {_pick(noise[1], index)}"
        value = -0.02 - noise[0] / 400
        other = f" {_pick(noise[2] + 1, index)}"
        return Token(text, value, {text: value, other: value - 2.0})

    def text(self, count: int) -> str:
        """So many tokens."""
        return "".join(self.token(index).text for index in range(count))


def _pick(number: int, index: int) -> str:
    return _WORDS[(number + index) % len(_WORDS)]


def recall(question: str) -> str | None:
    """The number that a text gives for what its end asks for; None if it does not ask."""
    asked = _QUESTION.findall(question)
    facts = dict(_FACT.findall(question))
    return facts.get(asked[-1]) if asked else None


def prompt_logprobs(key: str, count: int, *, wrong: bool = False) -> list[float | None]:
    """Log-probabilities of a prompt's own tokens; the first has none."""
    values: list[float | None] = [None]
    for index in range(1, count):
        noise = hashlib.sha256(f"{key}\0{index}".encode()).digest()
        values.append(-(noise[0] + noise[1]) / 64 - (4.0 if wrong else 0.0))
    return values[:count]


def token_ids(text: str, vocab: int) -> list[int]:
    """One id per word: there is no tokenizer, but equal words get equal ids."""
    room = max(1, vocab - _FIRST_ID)
    ids = []
    for word in text.split():
        digest = hashlib.blake2b(word.encode(), digest_size=6).digest()
        ids.append(_FIRST_ID + int.from_bytes(digest, "big") % room)
    return ids
