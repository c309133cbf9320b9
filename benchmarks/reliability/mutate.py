"""Damaged inputs out of good ones: a mutator without guidance, for whatever length of time."""

import random
from collections.abc import Callable, Sequence
from typing import Final

MOST_BYTES: Final = 64 * 1024

TOKENS: Final = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n\r\n", b"\n\n",
    b"\x1b[31m",
    b"nan", b"inf", b"-inf", b"1e309", b"-0", b"9" * 40, b"18446744073709551616", b"0x", b"1_000",
    b"null", b"true", b"[]", b"{}", b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b"[" * 600,
    b"{" * 600, b"&a ", b"*a", b"<<: ", b"!!python/object:os.system ", b"!!int ", b"? ", b"- ",
    b": ", b"|\n", b"%",
    b"data: ", b"data:", b"data: [DONE]\n\n", b'"usage":{', b'"finish_reason":null', b'"text":"',
    b'"content":"', b"Transfer-Encoding: chunked\r\n", b"content-length: -1\r\n", b"fffffffff\r\n",
    b"HTTP/1.1 200 OK\r\n", b"# TYPE x counter\n", b'{a="b"} 1\n', b"GiB", b"\xe2\x80\xae",
    b"\xd9\xa3", b"0001-01-01", b"2001-02-30 25:61:61", b"y", b"~", b".5", b"1.2.3",
    b"&a [*a]", b"&a {b: *a}", b'"\\ud800"', b"1" + b":59" * 300 + b".5",
)  # fmt: skip
"""Pieces at which readers of these formats have been known to stumble."""


def mutated(seed: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to six changes to an input."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        rng.choice(_CHANGES)(data, others, rng)
    return bytes(data[:MOST_BYTES])


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes as a network might bring them."""
    found, at = [], 0
    while at < len(data):
        size = rng.choice((1, 2, 7, 64, 1024, len(data)))
        found.append(data[at : at + size])
        at += size
    return found


def _span(data: bytearray, rng: random.Random) -> slice:
    start = rng.randint(0, len(data))
    return slice(start, start + rng.choice((1, 2, 4, 16, 256)))


def _flip(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _delete(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    del data[_span(data, rng)]


def _insert(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice(TOKENS)


def _replace(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    data[_span(data, rng)] = rng.choice(TOKENS)


def _noise(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    span = _span(data, rng)
    data[span] = rng.randbytes(len(data[span]))


def _repeat(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    span = _span(data, rng)
    at = rng.randint(0, len(data))
    data[at:at] = data[span] * rng.choice((1, 2, 50))


def _splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


def _lines(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    """Move, double or drop a line."""
    lines = bytes(data).split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randint(0, len(lines)), line)
    data[:] = b"\n".join(lines)


def _number(data: bytearray, _others: Sequence[bytes], rng: random.Random) -> None:
    """Another number in a number's place."""
    digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if digits:
        at = end = rng.choice(digits)
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        data[at:end] = rng.choice((b"0", b"-1", b"1e999", b"nan", b"9" * 25, b"0.1", b"007", b""))


_CHANGES: Final[tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...]] = (
    _flip, _cut, _delete, _insert, _insert, _replace, _noise, _repeat, _splice, _lines,
    _number, _number,
)  # fmt: skip
