"""docs/engine-knowledge.md says what the memory model predicts today."""

from pathlib import Path

import pytest

from tests.golden.kv_memory_table import TABLES

PAGE = Path(__file__).parents[4] / "docs" / "engine-knowledge.md"


@pytest.mark.parametrize("name", TABLES)
def test_the_page_holds_what_the_model_predicts(name: str) -> None:
    """`python -m tests.golden.kv_memory_table` prints it anew."""
    page = PAGE.read_text(encoding="utf-8")
    shown = page.split(f"<!-- table: {name} -->")[1].split(f"<!-- end: {name} -->")[0]
    assert shown.strip() == TABLES[name]()
