"""The table of failure texts holds to its own rules."""

from typing import Any

import pytest

from autotune.engines.vllm.signatures import TABLE_FILE, Table, table
from autotune.errors import SpecError
from autotune.spec.files import validate

GOOD: dict[str, Any] = {
    "phases": [{"phase": "weights", "after": ["Starting"]}],
    "gpu_oom_by_phase": {"weights": "gpu_oom_weights"},
    "signatures": [{"kind": "no_gpu", "pattern": "no (?P<what>gpu)", "message": "{what} is gone"}],
}


def changed(**signature: Any) -> dict[str, Any]:
    """The good table with a signature changed."""
    return {**GOOD, "signatures": [{**GOOD["signatures"][0], **signature}]}


def test_the_table_is_read_whole() -> None:
    """Every section, and each pattern once."""
    patterns = [(s.pattern, s.stage, s.context) for s in table().signatures]
    assert len(patterns) >= 70
    assert len(set(patterns)) == len(patterns)
    assert {p.phase for p in table().phases} == {
        "weights", "profiling", "kv-cache", "graphs", "warm-up", "serving",
    }  # fmt: skip
    assert TABLE_FILE.is_file()


@pytest.mark.parametrize(
    "broken",
    [
        changed(pattern="(unclosed"),
        changed(message="{nobody} is gone"),
        changed(repair={"max_model_len": "int nobody"}),
        changed(repair={"max_model_len": "guess what"}),
        changed(kind="no_such_kind"),
        changed(rank=3),
        changed(colour="red"),
        {**GOOD, "gpu_oom_by_phase": {}},
    ],
    ids=["regex", "message", "group", "rule", "kind", "rank", "field", "phases"],
)
def test_a_broken_table_is_refused(broken: dict[str, Any]) -> None:
    """With the file's name, at the first look and not at the first failure."""
    with pytest.raises(SpecError, match=r"failures\.yaml"):
        validate(Table, broken, where="failures.yaml")


def test_a_good_table_is_read() -> None:
    """So that the refusals above are not for another reason."""
    assert validate(Table, GOOD, where="failures.yaml").signatures[0].rank == 0
