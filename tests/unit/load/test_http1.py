"""The response parser on responses as servers send them, and on what is none."""

import pytest

from autotune.load.http1 import ResponseParser

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def test_a_chunked_body_ends_with_its_last_chunk() -> None:
    """Chunks are joined, extensions and trailers skipped, and the end is seen."""
    parser = ResponseParser()

    body = parser.feed(CHUNKED + b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n")

    assert body == b"abc0123456789"
    assert parser.complete
    assert parser.status == 200
    assert parser.headers["content-type"] == "text/event-stream"
    assert parser.keep_alive


def test_whole_chunks_one_by_one() -> None:
    """One chunk per read, the common case, gives one body each."""
    parser = ResponseParser()
    parser.feed(CHUNKED)

    assert [parser.feed(b"2\r\nab\r\n"), parser.feed(b"3\r\ncde\r\n")] == [b"ab", b"cde"]
    assert not parser.complete


def test_a_chunk_whose_data_looks_like_chunks() -> None:
    """Sizes count, not what the data look like."""
    parser = ResponseParser()

    data = b"1\r\nx\r\n0\r\n"

    assert parser.feed(CHUNKED + b"9\r\n" + data + b"\r\n") == data


def test_a_body_by_length() -> None:
    """Content-Length ends the body; what follows is not part of it."""
    parser = ResponseParser()

    assert parser.feed(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nfa") == b"fa"
    assert not parser.complete
    assert parser.feed(b"il") == b"il"
    assert parser.complete
    assert parser.status == 500


def test_a_body_up_to_the_end_of_the_connection() -> None:
    """Without length or chunks the connection's end is the body's, and it cannot be used again."""
    parser = ResponseParser()

    assert parser.feed(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc") == b"abc"
    assert not parser.complete
    assert parser.eof()
    assert not parser.keep_alive


def test_a_connection_that_ends_within_a_body_is_no_end_of_it() -> None:
    """Cut chunks are not complete."""
    parser = ResponseParser()
    parser.feed(CHUNKED + b"5\r\nab")

    assert not parser.eof()


def test_an_interim_response_is_skipped() -> None:
    """100 Continue precedes the real response."""
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    assert parser.status == 204
    assert parser.complete


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        CHUNKED + b"0\r\n" + b"x" * 70_000,
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"-3\r\nabc\r\n",
        CHUNKED + b"0x3\r\nabc\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_response_is_an_error(data: bytes) -> None:
    """Garbage is named, never waited on."""
    parser = ResponseParser()
    parser.feed(data)

    assert parser.error is not None
    assert not parser.complete
    assert parser.feed(b"0\r\n\r\n") == b""


def test_what_came_before_a_fault_is_kept() -> None:
    """A good chunk and a bad one in one read: the good one counts."""
    parser = ResponseParser()

    assert parser.feed(CHUNKED + b"3\r\nabc\r\nxyz\r\n") == b"abc"
    assert parser.error is not None


def test_what_follows_a_response_unasked_ends_the_connection() -> None:
    """Else it would be taken for the next request's answer."""
    parser = ResponseParser()
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert parser.feed(whole + whole) == b"ok"
    assert parser.complete
    assert not parser.keep_alive
