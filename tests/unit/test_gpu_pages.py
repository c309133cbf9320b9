"""The second evening's page of real measurements is what its records give."""

import json
from pathlib import Path

import pytest

from autotune.paths import StudyPaths
from autotune.store import TrialStore
from benchmarks.gpu import in_turn, second_page
from benchmarks.gpu.page import filled
from benchmarks.gpu.publish import MACHINE_PATH


def test_the_page_is_what_the_records_give() -> None:
    """Whoever runs the command gets the page that is there."""
    page = second_page.PAGE.read_text(encoding="utf-8")
    assert filled(page, second_page.TABLES) == page


def test_the_records_of_the_second_machine_are_whole() -> None:
    """They read, name their card, and hold no path of a machine."""
    folder = second_page.FOLDER / "second-machine" / "hopper-1.5b"
    stored = TrialStore(StudyPaths(folder)).read_all()
    assert [r.label for r in stored.records] == ["base", "flashinfer", "flashinfer+fp8"]
    assert stored.damaged == ()
    assert {r.environment["gpu"] for r in stored.records} == {"NVIDIA H100 80GB HBM3"}
    for file in folder.rglob("*.json"):
        assert not MACHINE_PATH.search(file.read_text(encoding="utf-8"))


def test_ratios_are_paired_by_round_and_have_an_interval(tmp_path: Path) -> None:
    """Twice as fast in every round is twice as fast; a missing round is no ratio.

    The interval of 1, 2 and 4: mean of ln is ln 2, its standard error ln 2 / sqrt(3), and
    Student's t at 97.5% with 2 degrees of freedom 4.303 (any table): 2 / 2^2.484 to 2 x 2^2.484.
    """
    rows = [
        {"round": n, "server": name, "metrics": {"output_tokens_per_s": value}}
        for n, pair in enumerate([(10.0, 10.0), (10.0, 20.0), (10.0, 40.0)])
        for name, value in zip(("a", "b"), pair, strict=True)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    (line,) = [text for text in in_turn.table(in_turn.read(file)) if "output" in text]
    assert line == "| output_tokens_per_s | 10 | 2.000 (0.357 to 11.190) |"


def test_one_round_has_no_interval() -> None:
    """Nothing is known of its noise."""
    assert in_turn.mean_ratio([1.5]) == "1.500"
    assert in_turn.mean_ratio([]) == "-"


def test_a_page_without_marks_is_refused() -> None:
    """A table cannot be left out in silence."""
    with pytest.raises(ValueError, match="marks of table"):
        filled("# nothing", second_page.TABLES)
