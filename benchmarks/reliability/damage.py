"""Study files that are damaged: every command says so, none loses anything in silence."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.store.codec import DamagedRecordError, decode
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import Ended, command, preload

NAME = "default"
TRIALS = 8

COMMANDS: dict[tuple[str, ...], int] = {
    ("show",): 10,
    ("list",): 5,
    ("show", "--trial", "1"): 4,
    ("recommend",): 3,
    ("export",): 3,
    ("report",): 1,
    ("compare", NAME, "0", "1"): 2,
    ("show", "--json"): 2,
    ("recommend", "--json"): 1,
    ("compare", NAME, "0", "1", "--json"): 1,
    ("list", "--json"): 1,
    ("export", "--stdout"): 1,
    ("clean",): 1,
    ("study", "--engine", "simulated", "--trials", str(TRIALS), "--json"): 2,
}
"""What is run on a damaged study, and how often in proportion."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One damage.

    Attributes:
        original: The record that was in the file before, if it held one.
    """

    what: str
    path: Path
    original: TrialRecord | None


def flip(path: Path, rng: random.Random) -> str:
    """Turn some bits."""
    data = bytearray(path.read_bytes() or b"\0")
    count = rng.choice((1, 1, 1, 8, 64))
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"{count} bits flipped"


def cut(path: Path, rng: random.Random) -> str:
    """Keep the beginning."""
    data = path.read_bytes()
    kept = rng.choice((0, 1, len(data) // 2, max(0, len(data) - 1), rng.randint(0, len(data))))
    path.write_bytes(data[:kept])
    return f"cut to {kept} of {len(data)} bytes"


def zero(path: Path, rng: random.Random) -> str:
    """Blank a block, as a power cut leaves one."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data) + 1)
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    path.write_bytes(data)
    return f"zeros from {at}"


def replace_by_noise(path: Path, rng: random.Random) -> str:
    """Another file's content, or none that is text."""
    foreign = (
        rng.randbytes(300), b"{}", b"[]", b"null", b"\xef\xbb\xbf{}", b"[" * 100_000,
        b'{"record": {}, "sha256": ""}', b"a: &a [*a, *a]\n", b"\x89PNG\r\n",
        b"{" + b'"a":' * 5000, b"9" * 10_000, b"name: !!python/object:os.system ls\n",
    )  # fmt: skip
    path.write_bytes(rng.choice(foreign))
    return "another file's content"


def become_folder(path: Path, rng: random.Random) -> str:
    """A folder where a file was; what was in the file lies in it."""
    del rng
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    aside.rename(path / "inside")
    return "a folder in its place"


def become_link(path: Path, rng: random.Random) -> str:
    """A link to nowhere or to itself."""
    path.unlink()
    path.symlink_to(rng.choice((path.name, "/nowhere/at/all", "/dev/null")))
    return "a link in its place"


def become_pipe(path: Path, rng: random.Random) -> str:
    """A pipe, into which nobody writes: whoever reads it would wait."""
    del rng
    path.unlink()
    os.mkfifo(path)
    return "a pipe in its place"


def remove(path: Path, rng: random.Random) -> str:
    """Somebody tidied up."""
    del rng
    path.unlink()
    return "removed"


def exchange(path: Path, rng: random.Random) -> str:
    """The content of another file of the study."""
    others = [p for p in path.parent.parent.rglob("*") if p.is_file() and p != path]
    path.write_bytes(rng.choice(others).read_bytes())
    return "the content of another of the study's files"


def strangers(path: Path, rng: random.Random) -> str:
    """Files and folders that nobody expects, beside it."""
    folder = path.parent
    name = rng.choice((
        "0003 (copy)", "-1", "\u0663", "99999999999999999999", "trial.json.bak", ".hidden", "a\nb",
        "\x1b[2J", "00000000", "\udcff",
    ))  # fmt: skip
    stranger = folder / name
    if rng.random() < 0.5:
        stranger.mkdir()
        shutil.copy(path, stranger / "trial.json")
    else:
        shutil.copy(path, stranger)
    return f"a stranger {name!r} beside it"


DAMAGES: dict[Callable[[Path, random.Random], str], int] = {
    flip: 10,
    cut: 8,
    zero: 3,
    replace_by_noise: 5,
    become_folder: 1,
    become_link: 1,
    become_pipe: 1,
    remove: 1,
    exchange: 2,
    strangers: 2,
}


def damage(folder: Path, *, cases: int, seed: int) -> Figure:
    """Make a study, and for each case a damaged copy of it.

    Args:
        folder: Scratch.
        cases: How many.
        seed: Of damages and commands.
    """
    figure = Figure("damage")
    whole = folder / "whole"
    whole.mkdir()
    study = ["study", "--engine", "simulated", "--trials", str(TRIALS), "--json"]
    preload([*study, "--name", "preload"], folder)
    made = command(study, whole)
    if made.code != 0:
        figure.broken.append(f"the study could not be made: {made.errors[-300:]}")
        return figure
    for number in range(cases):
        _one(folder / "case", whole, random.Random(f"{seed}/{number}"), figure)  # noqa: S311
    figure.demand("cases")
    return figure


def _one(folder: Path, whole: Path, rng: random.Random, figure: Figure) -> None:
    """Copy, damage, run a command, look."""
    shutil.copytree(whole, folder, symlinks=True)
    paths = StudyPaths(folder / "studies" / NAME)
    path = _victim(paths, rng)
    original = _record(path) if path.name == "trial.json" else None
    (how,) = rng.choices([*DAMAGES], [*DAMAGES.values()])
    what = f"{path.relative_to(paths.root)}: {how(path, rng)}"
    case = Case(what=what, path=path, original=original)
    before = _bytes(path)
    (arguments,) = rng.choices([*COMMANDS], [*COMMANDS.values()])
    ended = command(arguments, folder)
    figure.tried["cases"] += 1
    figure.tried[f"of {path.name if path.parent != paths.recommended else 'recommended/'}"] += 1
    for broken in _broken(case, ended, before, arguments):
        figure.broken.append(f"{case.what}; autotune {' '.join(arguments)}: {broken}")
    shutil.rmtree(folder)


def _victim(paths: StudyPaths, rng: random.Random) -> Path:
    """Half of the time a record, for they are what must not be lost."""
    records = sorted(paths.trials.glob("*/trial.json"))
    others = sorted(p for p in paths.root.rglob("*") if p.is_file() and p not in records)
    main = [paths.spec, paths.database]
    return rng.choice(rng.choice((records, records, main, others)))


def _broken(
    case: Case, ended: Ended, before: bytes | None, arguments: tuple[str, ...]
) -> Iterator[str]:
    """Broken promises of one case."""
    said = ended.output + ended.errors
    if ended.code is None:
        yield "it hangs"
    elif "Traceback" in said or ended.code < 0:
        yield f"traceback (exit {ended.code}): {said[-400:]}"
    elif ended.code not in {0, 130} and not {"error: ", "hint: "} <= _heads(ended.errors):
        yield f"exit {ended.code} without a word: {said[-300:]}"
    if case.original is None or before is None:
        return
    kept = {_bytes(path) for path in case.path.parent.glob("trial.json*")}
    is_whole = case.path.is_file() and _record(case.path) == case.original
    if is_whole:
        return
    if before not in kept:
        yield "the damaged file's bytes are gone"
    looks = arguments[:2] != ("show", "--trial") and arguments[0] != "clean"
    if looks and ended.code == 0 and "damaged" not in said:
        yield f"the loss is not told: {said[-300:]}"


def _heads(errors: str) -> set[str]:
    return {
        head
        for line in errors.splitlines()
        for head in ("error: ", "hint: ")
        if line.startswith(head)
    }


def _record(path: Path) -> TrialRecord | None:
    try:
        return decode(path.read_text(encoding="utf-8"), where=str(path)) if path.is_file() else None
    except (DamagedRecordError, OSError, UnicodeDecodeError):
        return None


def _bytes(path: Path) -> bytes | None:
    """The content of a file, None of whatever is none."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None
