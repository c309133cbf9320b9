"""Whatever is written as YAML reads back."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from autotune.report.exports.yaml_text import Commented, comment_lines, scalar, to_yaml
from autotune.report.untrusted import clean

TEXT = st.text(max_size=40) | st.sampled_from([
    "yes", "No", "null", "~", "1e3", "0x1f", "1:30", "2026-11-02", "- a", "a: b", "#c", "*a", "&a",
    "!t", "%d", "@x", "`x", "'q", '"q', "{a}", "[a]", "=", "<<", "...", "---", "2026-13-45", "",
])  # fmt: skip
NODES: st.SearchStrategy[Any] = st.recursive(
    TEXT | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def cleaned(node: Any) -> Any:
    """A node without characters that are not written."""
    if isinstance(node, str):
        return clean(node)
    if isinstance(node, dict):
        return {clean(k): cleaned(v) for k, v in node.items()}
    return [cleaned(v) for v in node] if isinstance(node, list) else node


@given(TEXT)
def test_a_scalar_reads_back(text: str) -> None:
    """Every string stays the string it was."""
    assert yaml.safe_load(f"k: {scalar(text)}") == {"k": clean(text)}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), NODES, max_size=4), TEXT)
def test_a_document_reads_back_whatever_its_comments(node: dict[str, Any], text: str) -> None:
    """Comments never change the data."""
    commented = {key: Commented(value, text) for key, value in node.items()}
    assert yaml.safe_load(to_yaml(commented)) == (cleaned(node) or None)


@given(TEXT)
def test_a_comment_never_ends_early(text: str) -> None:
    """Every line of it begins with a hash."""
    assert all(line.startswith("#") for line in comment_lines(text))
