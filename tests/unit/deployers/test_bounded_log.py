"""A log that cannot fill the disk and does not hold secrets."""

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.deployers.bounded_log import BoundedLog
from autotune.errors import DeployerError

HEAD, TAIL = 50, 40
NOTE = re.compile(rb"\n\[autotune left out (\d+) bytes here\]\n")


def written(path: Path, pieces: list[bytes], secrets: tuple[str, ...] = ()) -> bytes:
    """What is on disk after some writes."""
    log = BoundedLog(path, head_bytes=HEAD, tail_bytes=TAIL, secrets=secrets)
    for piece in pieces:
        log.write(piece)
    log.close()
    return path.read_bytes()


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=30))
def test_beginning_and_end_stay_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    """Head and tail are those of the whole output, and the note accounts for every other byte."""
    whole = b"".join(piece.replace(b"[", b"(") for piece in pieces)
    folder = tmp_path_factory.mktemp("log")
    found = written(folder / "log", [piece.replace(b"[", b"(") for piece in pieces])
    note = NOTE.search(found)
    if note is None:
        assert found == whole
    else:
        head, tail = found[: note.start()], found[note.end() :]
        assert head == whole[:HEAD]
        assert len(tail) >= TAIL
        assert whole.endswith(tail)
        assert int(note[1]) == len(whole) - len(head) - len(tail)
    assert len(found) <= HEAD + 2 * TAIL + 60
    assert [path.name for path in folder.iterdir()] == ["log"]


def test_a_long_flood_stays_within_the_bound(tmp_path: Path) -> None:
    """A thousand times the bound leaves the bound, its first and its last line."""
    lines = [b"line %06d\n" % i for i in range(10_000)]
    found = written(tmp_path / "log", lines)
    assert found.startswith(lines[0])
    assert found.endswith(lines[-1])
    assert len(found) <= HEAD + 2 * TAIL + 60


def test_output_is_on_disk_at_once(tmp_path: Path) -> None:
    """A reader sees what was written while the log is open."""
    log = BoundedLog(tmp_path / "log")
    log.write(b"healthy\n")
    assert (tmp_path / "log").read_bytes() == b"healthy\n"
    log.close()


@given(
    st.lists(st.integers(min_value=1, max_value=9), max_size=12),
    st.integers(min_value=1, max_value=2),
)
def test_a_secret_never_gets_to_the_disk(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], copies: int
) -> None:
    """A secret is masked however the writes split it."""
    secret = "hf_secretsecret"
    text = b"token=hf_secretsecret, " * copies + b"hf_secretsecre end"
    pieces, rest = [], text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    path = tmp_path_factory.mktemp("log") / "log"
    log = BoundedLog(path, secrets=(secret, "other"))
    for piece in [*pieces, rest]:
        log.write(piece)
    log.close()
    found = path.read_bytes()
    assert secret.encode() not in found
    assert found == text.replace(secret.encode(), b"[secret]")


def test_the_longer_of_two_secrets_is_masked_whole(tmp_path: Path) -> None:
    """Of two secrets of which one begins like the other, nothing of the longer one is left."""
    found = written(tmp_path / "log", [b"abcdefgh12345"], secrets=("abcdefgh", "abcdefgh12345"))
    assert found == b"[secret]"


def test_a_write_that_fails_is_told_and_not_raised(tmp_path: Path) -> None:
    """A full disk loses output; the pump that writes it goes on."""
    log = BoundedLog(tmp_path / "log")
    with Path("/dev/full").open("wb", buffering=0) as full:
        log._file.close()
        log._file = full
        log.write(b"lost")
        assert "No space left on device" in log.error


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A log that cannot be opened is a deployer's error with a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DeployerError, match="cannot be written") as raised:
        BoundedLog(tmp_path / "file" / "log")
    assert raised.value.hint


def test_what_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    """The thread that reads a container's output may be a moment late."""
    log = BoundedLog(tmp_path / "log")
    log.write(b"whole\n")
    log.close()
    log.write(b"late\n")
    assert (tmp_path / "log").read_bytes() == b"whole\n"


def test_a_secret_in_base64_is_masked_across_writes(tmp_path: Path) -> None:
    """As a program prints the header of its requests, a byte at a time."""
    text = b"Basic " + base64.b64encode(b"somebody:hf_secretsecret") + b"\n"
    found = written(tmp_path / "log", [bytes([b]) for b in text], secrets=("hf_secretsecret",))
    assert b"[secret]" in found
    assert base64.b64encode(b"hf_secretsecret")[:-3] not in found
    assert text[-8:-1] not in found
