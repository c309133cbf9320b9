"""Wherever a response is cut, its body is the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autotune.load.http1 import ResponseParser

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 600), max_size=10),
)
def test_cuts_do_not_matter(chunks: list[bytes], cuts: list[int]) -> None:
    """Fed in any pieces, the body is the chunks' data and the end is seen."""
    stream = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    parser = ResponseParser()

    body = b"".join(parser.feed(stream[low:high]) for low, high in pairwise(edges))

    assert body == b"".join(chunks)
    assert parser.complete


@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", HEAD, HEAD + b"5\r\nab"]))
def test_garbage_is_an_error_or_an_unfinished_response(data: bytes, prefix: bytes) -> None:
    """Any bytes either parse or are named as a fault; nothing is raised."""
    parser = ResponseParser()
    body = parser.feed(prefix + data)

    assert len(body) <= len(prefix + data)
    assert parser.status is None or 200 <= parser.status <= 999 or parser.status < 100
    assert not (parser.error and parser.complete)
