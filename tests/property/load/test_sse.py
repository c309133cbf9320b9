"""Wherever a stream is cut, its events are the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autotune.load.sse import SseParser

LINES = st.lists(
    st.one_of(
        st.binary(max_size=12).map(
            lambda b: b"data: " + b.replace(b"\r", b"x").replace(b"\n", b"y")
        ),
        st.sampled_from([b"", b"", b": comment", b"event: x", b"data", b"data:z"]),
    ),
    max_size=12,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def events_by_the_book(stream: bytes) -> list[bytes]:
    """The HTML standard's algorithm, on the whole stream at once; `data` alone is an empty line."""
    events: list[bytes] = []
    data: list[bytes] = []
    text = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            value = line[len(b"data:") :]
            data.append(value[1:] if value.startswith(b" ") else value)
    return events


@given(lines=LINES, end=ENDS, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_cuts_do_not_matter(lines: list[bytes], end: bytes, cuts: list[int]) -> None:
    """Fed in any pieces, the parser gives what the standard's algorithm gives for the whole."""
    stream = b"".join(line + end for line in lines)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    parser = SseParser()

    seen = [payload for low, high in pairwise(edges) for payload in parser.feed(stream[low:high])]

    assert events_by_the_book(stream) == seen
