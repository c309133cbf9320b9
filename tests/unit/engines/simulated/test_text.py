"""Words without meaning: the same for the same prompt, and with memory for numbers."""

from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.server import SimulatedServer
from autotune.engines.simulated.text import Words, prompt_logprobs, recall, token_ids
from autotune.load.prompts import WORDS
from autotune.probes.degenerate import degeneracy
from autotune.seams.requests import GenerationRequest, Prompt, RequestRecord, Segment
from tests.unit.engines.simulated.rig import served


def test_an_answer_follows_from_its_prompt() -> None:
    """Equal prompts get equal answers, others get others."""
    assert Words("a").text(40) == Words("a").text(40)
    assert Words("a").text(40) != Words("b").text(40)


def test_an_honest_answer_is_not_degenerate_and_a_wrong_one_is() -> None:
    """The probes' own judge tells them apart."""
    for key in ("a", "b", "c", "d"):
        assert degeneracy(Words(key).text(64)) is None
        assert degeneracy(Words(key, wrong=True).text(64)) is not None


def test_a_number_that_was_said_is_recalled() -> None:
    """The last question counts; without a fact there is no answer."""
    text = "The number of the mill is 12. The number of the inn is 34. The number of the mill?"
    assert recall(text) == "12"
    assert recall("What is the number of the mill?") is None
    assert recall("The number of the mill is 12.") is None


def test_words_of_prompts_are_one_token_each() -> None:
    """What the load generator makes prompts of: as many ids as words, nearly all different."""
    ids = token_ids(" " + " ".join(WORDS), 152_064)
    assert len(ids) == len(WORDS)
    assert len(set(ids)) > 0.97 * len(WORDS)
    assert all(1000 <= i < 152_064 for i in ids)


def test_a_prompt_has_one_probability_per_token_but_the_first() -> None:
    """As vLLM gives them."""
    values = prompt_logprobs("a", 10)
    assert values[0] is None
    assert all(v is not None and v < 0 for v in values[1:])
    assert len(values) == 10


def test_the_in_process_client_gives_log_probabilities_too() -> None:
    """In the shape of the HTTP client's records."""

    async def talk(client: SimulatedClient, _server: SimulatedServer) -> RequestRecord:
        return await client.generate(
            GenerationRequest(
                request_id="a",
                prompt=Prompt(segments=(Segment(1, 12),)),
                max_tokens=5,
                logprobs=2,
                prompt_logprobs=0,
            )
        )

    record = served(talk)
    assert len(record.raw["tokens"]) == len(record.raw["logprobs"]) == 5
    assert len(record.raw["prompt_logprobs"]) == 12
