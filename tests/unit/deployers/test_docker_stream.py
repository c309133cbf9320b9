"""Frames of a container's output."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from autotune.deployers.docker_stream import Demultiplexer


def frame(stream: int, payload: bytes) -> bytes:
    """As the engine's API describes it: stream, three zeros, length in network order."""
    return struct.pack(">BxxxI", stream, len(payload)) + payload


def test_stdout_and_stderr_are_one_text() -> None:
    """Payloads of both streams come out in their order."""
    frames = frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"") + frame(1, b"more")
    assert Demultiplexer().feed(frames) == b"out\nerr\nmore"


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12),
    st.lists(st.integers(min_value=1, max_value=30), max_size=40),
)
def test_frames_may_be_cut_anywhere(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """However the stream is read, the payloads are the same."""
    stream = b"".join(frame(number, payload) for number, payload in frames)
    reader, found = Demultiplexer(), b""
    for cut in cuts:
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    found += reader.feed(stream)
    assert found == b"".join(payload for _, payload in frames)
