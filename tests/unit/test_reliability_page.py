"""Every promise of the reliability page names what shows it, and that exists."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from benchmarks.reliability.run import PARTS

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/reliability.md").read_text()
SECTION: Final = PAGE.split("## Promise by promise\n", 1)[1].split("\n## ", 1)[0]
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and "shown by" not in line
]


def defined_in(path: Path) -> set[str]:
    """Names of the test functions of a file."""
    tree = ast.parse(path.read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("promise", "shown"), ROWS)
def test_a_promise_is_shown_by_what_exists(promise: str, shown: str) -> None:
    """A test of a file of the suite, or a part of the long form."""
    words = re.findall(r"`([^`]+)`", shown)
    assert words, promise
    for word in words:
        file, is_test, name = word.partition("::")
        if is_test:
            assert name in defined_in(ROOT / "tests" / file), word
        else:
            assert word in PARTS, word


def test_all_eight_sections_are_there() -> None:
    """Each of what must work has promises."""
    heads = re.findall(r"^\| (\d)\. ", SECTION, flags=re.MULTILINE)
    assert heads == list("12345678")


def test_every_part_is_described() -> None:
    """A part that the page does not name is run by nobody."""
    text = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    described = set(re.findall(r"`([^`\n]+)`", text))
    assert set(PARTS) <= described
