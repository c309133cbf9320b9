"""The event parser on streams as servers send them."""

import pytest

from autotune.load.sse import SseError, SseParser


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data: a\r\r", [b"a"]),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 3\ndata: a\n\n", [b"a"]),
        (b"data: \n\n", [b""]),
        (b"\n\n\ndata: a\n\n", [b"a"]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"", []),
    ],
)
def test_payloads_of_a_whole_stream(stream: bytes, payloads: list[bytes]) -> None:
    """Each event gives its data; comments and other fields give nothing."""
    assert payloads == SseParser().feed(stream)


def test_a_line_feed_after_a_cut_belongs_to_the_carriage_return_before_it() -> None:
    """CR LF cut in two is one end of line."""
    parser = SseParser()

    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r\n") == []
    assert parser.feed(b"\r\n") == [b"a\nb"]


def test_a_whole_event_after_a_cut_one_is_not_taken_for_its_end() -> None:
    """The short way for whole events is not taken while an event is open."""
    parser = SseParser()
    parser.feed(b"data: a\n")

    assert parser.feed(b"data: b\n\n") == [b"a\nb"]


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: a\n" * 8_192])
def test_an_event_that_does_not_end_is_an_error(piece: bytes) -> None:
    """It is not kept for ever, and what is kept is not gone through again for each piece."""
    parser = SseParser()
    with pytest.raises(SseError, match="does not end within"):
        all(parser.feed(piece) == [] for _ in range(1_000))


def test_events_that_end_may_go_on_for_ever() -> None:
    """What was given away counts no more."""
    parser = SseParser()
    whole = b"data: a\ndata: b\n\n" * 8_192
    assert all(len(parser.feed(whole)) == 8_192 for _ in range(100))
