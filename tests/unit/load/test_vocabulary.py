"""Learning tokens from servers that offer more or less."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from autotune.clock import VirtualClock
from autotune.load.prompts import WORDS, Vocabulary
from autotune.load.vocabulary import learn_vocabulary
from autotune.seams.requests import GenerationRequest, HttpAnswer, RequestRecord


class Server:
    """Tokenizes one token per word, but "water" into two, after `added` of its own.

    `offers` names what it has: "vllm" or "llama" for /tokenize, "ids" for prompts of token ids,
    "usage" for counts.
    """

    def __init__(self, *offers: str, added: int = 1) -> None:
        self._offers = offers
        self._added = added

    @staticmethod
    def count(text: str) -> int:
        return sum(2 if word == "water" else 1 for word in text.split())

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        return None

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        if path == "/v1/completions":
            if "ids" not in self._offers:
                return HttpAnswer(status=400, text='{"error": "prompt must be text"}')
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 1}
            return HttpAnswer(status=200, text=json.dumps({"usage": usage}))
        key = "prompt" if "vllm" in self._offers else "content"
        if path != "/tokenize" or not {"vllm", "llama"} & set(self._offers) or key not in body:
            return HttpAnswer(status=404, text="no")
        tokens = [10 + i for i, _ in enumerate(body[key].split())]
        return HttpAnswer(status=200, text=json.dumps({"tokens": tokens}))

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        assert request.prompt.text is not None
        tokens = self._added + self.count(request.prompt.text)
        return RequestRecord(
            request_id=request.request_id,
            scheduled_ns=0,
            sent_ns=0,
            prompt_tokens=tokens if "usage" in self._offers else None,
            output_tokens=1,
        )


def learn(server: Server) -> Vocabulary:
    """What is learnt from a server."""
    return VirtualClock().run(learn_vocabulary(server, model="m"))


@pytest.mark.parametrize("dialect", ["vllm", "llama"])
def test_token_ids_are_learnt_where_tokenize_is_offered(dialect: str) -> None:
    """VLLM's and llama.cpp's /tokenize both give ids of plain words."""
    vocabulary = learn(Server(dialect, "ids"))

    assert len(WORDS) == len(vocabulary.token_ids)
    assert vocabulary.source == "/tokenize"


def test_a_server_that_refuses_token_ids_gets_text() -> None:
    """Knowing the ids is no use if a prompt must be text."""
    vocabulary = learn(Server("vllm", "usage", added=1))

    assert vocabulary.token_ids == ()
    assert len(vocabulary.words) > 100


def test_words_of_two_tokens_are_left_out_of_text() -> None:
    """Usage shows which groups of words are one token each; what the server adds is learnt too."""
    vocabulary = learn(Server("usage", added=3))

    assert "water" in WORDS
    assert "water" not in vocabulary.words
    assert len(vocabulary.words) > 100
    assert vocabulary.added_tokens == 3


def test_a_server_that_tells_nothing_gives_an_empty_vocabulary() -> None:
    """Without ids and without usage no prompt of exact length can be made, and it says why."""
    vocabulary = learn(Server())

    assert (vocabulary.token_ids, vocabulary.words) == ((), ())
    assert "usage" in vocabulary.source
