"""Matrix files and the options that choose from them."""

from pathlib import Path
from typing import Any

import pytest

from autotune.errors import SpecError, UsageError
from autotune.spec import matrix as matrix_module
from autotune.spec.matrix import matrix_from, read_matrix

chosen_tests = matrix_module.tests_from  # under its own name pytest would collect it

MATRIX = matrix_from(
    {
        "configurations": {
            "baseline": {"title": "Baseline", "reference": True},
            "A": {"title": "A", "configuration": {"async_scheduling": True}},
            "MAX": {"title": "MAX", "image": "vllm/vllm-openai:v0.9.2"},
        }
    },
    where="matrix.yaml",
)


def test_cells_are_chosen_by_name_in_the_files_order() -> None:
    """Letter case aside; all of them where none is named."""
    assert list(MATRIX.select(["max", "BASELINE"])) == ["baseline", "MAX"]
    assert list(MATRIX.select(None)) == ["baseline", "A", "MAX"]


@pytest.mark.parametrize("name", ["G", "", "a "])
def test_a_configuration_that_is_not_there_is_named(name: str) -> None:
    """With those there are."""
    with pytest.raises(UsageError, match="has no configuration") as caught:
        MATRIX.select(["A", name])
    assert caught.value.hint == "It has: baseline, A, MAX."


@pytest.mark.parametrize(
    ("configurations", "says"),
    [
        ({}, "configurations"),
        ({"A": {}}, "configurations -> A -> title"),
        ({"A": {"title": "A", "imgae": "x"}}, "configurations -> A -> imgae: unknown key"),
        ({"A": {"title": "A", "image": "--rm"}}, "configurations -> A -> image"),
        ({"a": {"title": "1"}, "A": {"title": "2"}}, "differ in letter case only"),
        ({"A": {"title": "1", "reference": True}, "B": {"title": "2", "reference": True}},
         "only one configuration can be the reference, not A and B"),
    ],
)  # fmt: skip
def test_a_wrong_matrix_names_the_field(configurations: dict[str, Any], says: str) -> None:
    """With a next step."""
    with pytest.raises(SpecError) as caught:
        matrix_from({"configurations": configurations}, where="matrix.yaml")
    assert caught.value.message.startswith("matrix.yaml: ")
    assert says in caught.value.message
    assert caught.value.hint


def test_a_matrix_file_is_read(tmp_path: Path) -> None:
    """From disk, strictly."""
    file = tmp_path / "m.yaml"
    file.write_text("configurations:\n  A: {title: Ay}\n  A: {title: again}\n")
    with pytest.raises(SpecError, match="there twice"):
        read_matrix(file)


@pytest.mark.parametrize(
    ("text", "tests"),
    [("1-6", (1, 2, 3, 4, 5, 6)), ("1,3, 5-6", (1, 3, 5, 6)), ("2", (2,)), ("3,3,1", (1, 3))],
)
def test_numbers_of_tests(text: str, tests: tuple[int, ...]) -> None:
    """Single ones and stretches, each once, in order."""
    assert chosen_tests(text) == tests


@pytest.mark.parametrize(
    "text", ["", "0", "7", "1-7", "6-1", "6-1,2", "a", "1-", "-1", "1,,2", "1-99999999999", "1.5"]
)
def test_what_is_no_list_of_tests(text: str) -> None:
    """An error with an example, at once, however large the number."""
    with pytest.raises(UsageError) as caught:
        chosen_tests(text)
    assert repr(text) in caught.value.message
    assert "1-6" in caught.value.hint
