"""Files are read strictly: what is wrong is named, with the next step, and nothing is dropped."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from autotune.errors import SpecError
from autotune.spec.files import StrictModel, read_yaml, validate


class Inner(StrictModel):
    """A nested mapping."""

    size: int = Field(default=1, ge=1)
    share: float = 0.5


class Outer(StrictModel):
    """A file."""

    name: str = "n"
    inner: Inner = Inner()
    listed: list[Inner] = Field(default_factory=list)
    named: dict[str, Inner] = Field(default_factory=dict)


def error_of(raw: Any) -> SpecError:
    """What reading this as an `Outer` raises."""
    with pytest.raises(SpecError) as caught:
        validate(Outer, raw, where="file.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("raw", "field", "meant", "known"),
    [
        ({"nmae": "x"}, "nmae", "name", "inner, listed, name, named"),
        ({"inner": {"sise": 1}}, "inner -> sise", "size", "share, size"),
        ({"listed": [{}, {"sise": 1}]}, "listed -> 1 -> sise", "size", "share, size"),
        ({"named": {"a": {"sise": 1}}}, "named -> a -> sise", "size", "share, size"),
    ],
)
def test_an_unknown_key_is_named_with_those_there_are(
    raw: dict[str, Any], field: str, meant: str, known: str
) -> None:
    """However deep it lies, and whatever holds it."""
    error = error_of(raw)
    assert error.message == f"file.yaml: {field}: unknown key; did you mean {meant}?"
    assert error.hint == f"Known keys here: {known}."


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"inner": {"size": 0}}, "inner -> size"),
        ({"inner": {"size": "many"}}, "inner -> size"),
        ({"inner": {"share": float("nan")}}, "inner -> share"),
        ({"inner": {"share": float("inf")}}, "inner -> share"),
        ({"inner": []}, "inner"),
        ({"name": None}, "name"),
        ({"named": {1: {}}}, "named -> 1"),
    ],
)
def test_a_wrong_value_names_its_field(raw: dict[str, Any], field: str) -> None:
    """And says what to do next."""
    error = error_of(raw)
    assert error.message.startswith(f"file.yaml: {field}")
    assert error.hint


@pytest.mark.parametrize("raw", [None, [], "text", 7])
def test_a_file_that_is_no_mapping_is_said_so(raw: Any) -> None:
    """An empty file or a list is no crash."""
    error = error_of(raw)
    assert error.message.startswith("file.yaml: expected a mapping")
    assert error.hint


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2", "line 1"),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: 1\na: 2\n", "line 2"),
        ("x:\n  a: 1\n  b: 2\n  a: 3\n", "line 4"),
        ("\tx: 1", "line 1"),
        ("a: !!python/object/apply:os.system [echo]", "line 1"),
        ("a: *nowhere", "line 1"),
        ("? [1, 2]\n: 3\n", "line 1"),
    ],
)
def test_text_that_is_not_yaml_is_named_by_file_and_line(
    tmp_path: Path, text: str, where: str
) -> None:
    """Syntax errors, keys given twice, and tags that would run something."""
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_yaml(file)
    assert caught.value.message.startswith(f"{file}, {where} is not YAML: ")
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"a: \xff\xfe", b"a: \x00", b"[" * 5000])
def test_bytes_that_are_no_text_are_no_crash(tmp_path: Path, content: bytes) -> None:
    """Broken encodings and absurd nesting end in the same kind of error."""
    file = tmp_path / "space.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match="is not YAML"):
        read_yaml(file)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, or a folder."""
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(SpecError, match="cannot be read") as caught:
            read_yaml(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_merge_keys_are_no_duplicates(tmp_path: Path) -> None:
    """YAML's own way to share keys goes on working."""
    file = tmp_path / "a.yaml"
    file.write_text("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\n")
    assert read_yaml(file)["one"] == {"x": 1, "y": 3}
