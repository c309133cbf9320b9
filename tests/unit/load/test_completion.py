"""How a stream of events is understood, on events in the words of real servers."""

import json
from typing import Any

import orjson
import pytest

from autotune.load.completion import (
    Collector,
    path_of,
    request_body,
    whole_answer,
)
from autotune.seams.requests import (
    GenerationRequest,
    Prompt,
    RequestErrorKind,
    RequestRecord,
    Segment,
)

# As vLLM 0.32 writes them.
TEXT = (
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":'
    b'[{"index":0,"text":" the","logprobs":null,"finish_reason":null,"stop_reason":null}],'
    b'"usage":null}'
)
LAST = TEXT.replace(b'"finish_reason":null', b'"finish_reason":"length"')
NO_TEXT = TEXT.replace(b'" the"', b'""')
USAGE = (
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":8,"total_tokens":10,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":16}}}'
)
ROLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
    b'"finish_reason":null}]}'
)
CHAT = ROLE.replace(b'"role":"assistant","content":""', b'"content":"Hi"')
DONE = b"[DONE]"

SYNTHETIC = GenerationRequest(
    request_id="r", prompt=Prompt(segments=(Segment(1, 8),)), max_tokens=2
)
QUESTION = GenerationRequest(
    request_id="q", prompt=Prompt(text="Hello", chat=True), max_tokens=2, ignore_eos=False
)


def collected(request: GenerationRequest, *events: bytes) -> RequestRecord:
    """The record after events that came at 100, 101, ..."""
    collector = Collector(request, scheduled_ns=5)
    collector.sent_ns = 7
    for at_ns, event in enumerate(events, 100):
        collector.event(event, at_ns)
    return collector.record(end_ns=999)


def test_a_good_answer() -> None:
    """Content-bearing chunks are stamped, tokens come from usage, the end is the end mark."""
    record = collected(SYNTHETIC, TEXT, LAST, USAGE, DONE)

    assert record.error is None
    assert tuple(record.chunk_ns) == (100, 101)
    assert (
        record.scheduled_ns,
        record.sent_ns,
        record.first_token_ns,
        record.end_ns,
    ) == (5, 7, 100, 103)
    assert (record.prompt_tokens, record.output_tokens, record.cached_tokens) == (8, 2, 16)
    assert record.finish_reason == "length"


def test_chunks_without_content_are_not_stamped() -> None:
    """A chunk with an empty text, or with a role alone, is no token."""
    assert tuple(collected(SYNTHETIC, NO_TEXT, LAST, USAGE, DONE).chunk_ns) == (101,)
    assert tuple(collected(QUESTION, ROLE, CHAT, USAGE, DONE).chunk_ns) == (101,)


@pytest.mark.parametrize(
    "variant",
    [
        TEXT.replace(b'":', b'": '),
        TEXT.replace(b'"finish_reason":null,', b""),
        TEXT.replace(b'" the"', rb'"\""'),
        TEXT.replace(b'" the"', rb'"\"text\":\"\""'),
        TEXT.replace(b'"usage":null', b'"usage":{"prompt_tokens":8,"completion_tokens":1}'),
    ],
)
def test_other_ways_to_write_the_same_chunk(variant: bytes) -> None:
    """Spaces, absent nulls, quotes within the text and running usage change nothing."""
    record = collected(SYNTHETIC, variant, LAST, USAGE, DONE)

    assert record.error is None
    assert tuple(record.chunk_ns) == (100, 101)
    assert record.output_tokens == 2


@pytest.mark.parametrize("key", ["content", "reasoning_content", "reasoning"])
def test_reasoning_is_content(key: str) -> None:
    """A model that thinks aloud has begun to answer."""
    record = collected(QUESTION, ROLE, CHAT.replace(b'"content"', f'"{key}"'.encode()), USAGE, DONE)

    assert record.error is None
    assert record.first_token_ns == 101
    assert record.text == "Hi"


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ((), RequestErrorKind.CUT_OFF),
        ((TEXT, LAST, USAGE), RequestErrorKind.CUT_OFF),
        ((TEXT, LAST.replace(b'"length"', b'"abort"'), USAGE, DONE), RequestErrorKind.CUT_OFF),
        ((NO_TEXT, USAGE, DONE), RequestErrorKind.EMPTY),
        ((DONE,), RequestErrorKind.EMPTY),
        ((TEXT, LAST, DONE), RequestErrorKind.NO_USAGE),
        (
            (TEXT, LAST, USAGE.replace(b'"completion_tokens":2', b'"completion_tokens":"2"'), DONE),
            RequestErrorKind.NO_USAGE,
        ),
        (
            (TEXT, LAST, USAGE.replace(b'"completion_tokens":2', b'"completion_tokens":1'), DONE),
            RequestErrorKind.WRONG_LENGTH,
        ),
        (
            (TEXT, LAST, USAGE.replace(b'"completion_tokens":2', b'"completion_tokens":3'), DONE),
            RequestErrorKind.WRONG_LENGTH,
        ),
        (
            (TEXT, LAST, USAGE.replace(b'"prompt_tokens":8', b'"prompt_tokens":4'), DONE),
            RequestErrorKind.WRONG_LENGTH,
        ),
        ((TEXT, b'{"choices":[', DONE), RequestErrorKind.MALFORMED),
        ((TEXT, b"[1]", DONE), RequestErrorKind.MALFORMED),
        ((TEXT, b"{}", DONE), RequestErrorKind.MALFORMED),
        ((TEXT, b'{"error":{"message":"boom","code":500}}', DONE), RequestErrorKind.IN_STREAM),
    ],
)
def test_each_bad_answer_has_its_kind(events: tuple[bytes, ...], kind: RequestErrorKind) -> None:
    """Whatever is wrong with a stream becomes an error of one kind."""
    record = collected(SYNTHETIC, *events)

    assert record.error is not None
    assert kind is record.error.kind


def test_an_event_that_breaks_off_is_malformed_not_raised() -> None:
    """Not even where it breaks off right behind the key of its content."""
    broken = b'{"finish_reason":null,"choices":[{"index":0,"text":"'
    error = collected(SYNTHETIC, broken, DONE).error
    assert error is not None
    assert error.kind is RequestErrorKind.MALFORMED


def test_the_first_error_stays() -> None:
    """What went wrong first is the cause of the rest."""
    record = collected(SYNTHETIC, b'{"error":"boom"}', b"no json")

    assert record.error is not None
    assert record.error.kind is RequestErrorKind.IN_STREAM
    assert "boom" in record.error.message


def test_strange_log_probabilities_are_malformed_not_raised() -> None:
    """A token without its log-probability is an error of the server's."""
    request = GenerationRequest(request_id="l", prompt=Prompt(text="x"), max_tokens=1, logprobs=1)
    event = TEXT.replace(b'"logprobs":null', b'"logprobs":{"content":[{"token":"a"}]}')
    record = collected(request, event, USAGE, DONE)

    assert record.error is not None
    assert record.error.kind is RequestErrorKind.MALFORMED


def test_log_probabilities_of_both_shapes() -> None:
    """Completions and chat write them differently; the record does not."""
    request = GenerationRequest(
        request_id="l", prompt=Prompt(text="x"), max_tokens=2, logprobs=2, ignore_eos=False
    )
    completions = (
        b'"logprobs":{"tokens":[" the"],"token_logprobs":[-0.5],'
        b'"top_logprobs":[{" the":-0.5," a":-1.5}],"text_offset":[0]}'
    )
    chat = (
        b'"logprobs":{"content":[{"token":" the","logprob":-0.5,"bytes":null,"top_logprobs":'
        b'[{"token":" the","logprob":-0.5},{"token":" a","logprob":-1.5}]}]}'
    )
    for shape in (completions, chat):
        record = collected(request, TEXT.replace(b'"logprobs":null', shape), USAGE, DONE)

        assert record.error is None
        assert record.raw == {
            "tokens": (" the",),
            "logprobs": (-0.5,),
            "top_logprobs": ({" the": -0.5, " a": -1.5},),
        }


def body(request: GenerationRequest, prompt: str | list[int], **options: bool) -> dict[str, Any]:
    """The request's JSON, parsed by another parser."""
    parsed: dict[str, Any] = json.loads(request_body(request, model="m", prompt=prompt, **options))
    return parsed


def test_a_synthetic_request_asks_for_exact_lengths() -> None:
    """Token ids go to completions, with ignore_eos and usage asked for."""
    assert path_of(SYNTHETIC) == "/v1/completions"
    assert body(SYNTHETIC, [1, 2]) == {
        "model": "m",
        "prompt": [1, 2],
        "max_tokens": 2,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "skip_special_tokens": False,
    }


def test_a_chat_request_carries_a_message() -> None:
    """Literal text marked as chat goes to chat completions."""
    assert path_of(QUESTION) == "/v1/chat/completions"
    assert body(QUESTION, "Hello")["messages"] == [{"role": "user", "content": "Hello"}]
    assert not {"ignore_eos", "skip_special_tokens"} & body(QUESTION, "Hello").keys()


def test_extra_fields_have_the_last_word() -> None:
    """`extra` adds to the body and overrides it."""
    request = GenerationRequest(
        request_id="x", prompt=Prompt(text="a"), max_tokens=1, extra={"temperature": 1.0, "n": 1}
    )
    assert body(request, "a") | {"temperature": 1.0, "n": 1} == body(request, "a")


def test_a_whole_answer_is_judged_like_a_stream() -> None:
    """It ends when it arrives."""
    answer = {
        "choices": [
            {
                "index": 0,
                "text": " a",
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2},
    }
    collector = Collector(SYNTHETIC, scheduled_ns=0)

    parsed = whole_answer(collector, orjson.dumps(answer), 50)

    assert parsed is not None
    assert parsed == answer
    assert collector.record(end_ns=60).error is None
    assert collector.record(end_ns=60).end_ns == 50
