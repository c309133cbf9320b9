"""What YAML allows and no file of ours may hold."""

import os
from pathlib import Path

import pytest

from autotune.errors import SpecError
from autotune.spec.files import read_yaml
from autotune.spec.loader import MOST_VALUES


def bomb(levels: int) -> str:
    """Nine values, and nine of those, and so on: a "billion laughs" of so many levels."""
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x]"
    rest = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))
    return "\n".join([first, *rest])


def merges(levels: int) -> str:
    """Each mapping takes over the one before it twice."""
    rest = (f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, levels))
    return "\n".join(["a0: &a0 {k: 1}", *rest])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(9), f"unfolds to more than {MOST_VALUES:,} values"),
        (merges(40), "unfolds to more than"),
        ("a: &a [*a]", "a value holds itself"),
        ("a: &a {b: {c: *a}}", "a value holds itself"),
        ('a: "\\ud800"', "lone surrogate"),
        ("a: 1:" + ":".join(["59"] * 400) + ":00.5", "OverflowError"),
    ],
)
def test_what_only_does_harm_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """Without being unfolded, and with the file named."""
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"space\.yaml.* is not YAML") as raised:
        read_yaml(file)
    assert problem in raised.value.message


def test_a_value_may_stand_in_two_places(tmp_path: Path) -> None:
    """As in a compose file; it is the same value twice."""
    file = tmp_path / "compose.yaml"
    file.write_text("x: &x {a: 1}\ny: *x\nz: {<<: *x, b: 2}\n")
    assert read_yaml(file) == {"x": {"a": 1}, "y": {"a": 1}, "z": {"a": 1, "b": 2}}


def test_a_pipe_in_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write into it."""
    os.mkfifo(tmp_path / "study.yaml")
    with pytest.raises(SpecError, match="is no file"):
        read_yaml(tmp_path / "study.yaml")
