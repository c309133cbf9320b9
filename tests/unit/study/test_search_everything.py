"""The benchmark that measures everything at once: what it keeps, and what is made of it."""

import json
import threading
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.search.everything import finish, run_all, summary
from benchmarks.search.merge import merge
from benchmarks.search.results import PAGE
from benchmarks.search.traces import Trace
from benchmarks.search.units import Size, Unit, units
from benchmarks.search.verdicts import Overrides, Verdict


def unit(name: str, result: object, enough: int | None = None) -> Unit:
    """One whose result is given."""
    return Unit(part="part", name=name, do=partial(give, result), enough=enough)


def give(result: object) -> object:
    """It."""
    return result


def fail() -> None:
    """An error of a unit's own."""
    message = "of its own"
    raise ValueError(message)


def never() -> None:
    """A unit without an end."""
    threading.Event().wait()


def nothing() -> None:
    """Processes need no preparation here."""


def kept(out: Path) -> dict[str, object]:
    """Results by their file's name."""
    return {f.stem: json.loads(f.read_text())["result"] for f in (out / "part").glob("*.json")}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """The same command goes on where it stopped."""
    finish(unit("a", 1), tmp_path)
    finish(unit("a", 2), tmp_path)
    assert kept(tmp_path) == {"a": 1}


def test_studies_end_once_there_are_enough_and_those_whose_default_does_not_run_do_not_count(
    tmp_path: Path,
) -> None:
    """Two are wanted; the second landscape gives none."""
    for name, result in (("a", 1), ("b", None), ("c", 3), ("d", 4)):
        finish(unit(name, result, enough=2), tmp_path)
    assert kept(tmp_path) == {"a": 1, "b": None, "c": 3}


def test_a_unit_that_fails_leaves_its_traceback_and_is_tried_again(tmp_path: Path) -> None:
    """Until it does not."""
    finish(Unit(part="part", name="a", do=fail), tmp_path)
    assert "of its own" in (tmp_path / "part" / "a.error").read_text()
    assert "| part | 1 | 0 | 1 |" in summary([unit("a", 1)], tmp_path)
    finish(unit("a", 1), tmp_path)
    assert kept(tmp_path) == {"a": 1}
    assert "| part | 1 | 1 | 0 |" in summary([unit("a", 1)], tmp_path)


def test_units_are_done_by_other_processes_and_their_results_kept(tmp_path: Path) -> None:
    """All of them."""
    wanted = [unit(name, name) for name in "abc"]
    assert run_all(wanted, tmp_path, jobs=2, until_s=60, begin=nothing)
    assert kept(tmp_path) == {"a": "a", "b": "b", "c": "c"}


def test_what_is_not_done_in_time_is_broken_off(tmp_path: Path) -> None:
    """Even what would never end."""
    endless = Unit(part="part", name="a", do=never)
    assert not run_all([endless], tmp_path, jobs=1, until_s=0.5, begin=nothing)
    assert not (tmp_path / "part" / "a.json").exists()


def test_no_two_units_share_a_file_and_all_can_be_named_one() -> None:
    """A strategy's name is part of the file's."""
    paths = Counter((u.part, u.name) for u in units(Size()))
    assert max(paths.values()) == 1
    assert not [name for _, name in paths if "/" in name]


def test_files_of_units_become_the_tables_of_the_page(tmp_path: Path) -> None:
    """In a copy of the page; what was not measured stays as it was."""
    out, root = tmp_path / "out", tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    page = root / "docs" / "search.md"
    page.write_text(PAGE.read_text())
    shares = [0.5] * 19 + [0.91] * 20 + [0.96]
    trace = Trace("autotune, prior wrong", 3, shares, [315.0 * i for i in range(40)], [""] * 40, [])
    side = Overrides(gain=0.1, count=2, useless=0, in_vain=0)
    found = [
        Verdict(seed=1000 + i, gain=0.1, best_gain=0.2, kept=False, before=side, after=side)
        for i in range(2)
    ]
    rows = [{"trials": 12, "verdict": asdict(verdict)} for verdict in found]
    for part, name, result in [
        ("traces-unused", "autotune, prior wrong 003", asdict(trace)),
        *(("studies-drawn", str(i), row) for i, row in enumerate([None, *rows])),
        ("proposal-time", "default", {"40": [0.1, 0.3, 0.2], "500": [1.0]}),
    ]:
        finish(Unit(part=part, name=name, do=partial(give, result)), out)
    merge(out, root)
    results = root / "benchmarks" / "search" / "results"
    drawn = json.loads((results / "recommendations-drawn.json").read_text())
    assert (drawn["trials"], len(drawn["verdicts"])) == (12, 2)
    text = page.read_text()
    assert "| default | 40 | 0.20 | 0.30 | under 0.5 |" in text
    assert "| default | 500 | 1.00 | 1.00 | under 2 |" in text
    assert "| share at 40 trials, median | 0.95 | 0.960 |" in text
    assert "| as drawn (22%) | 2 | 0 (0.0%) | 100.0% | 0 | +0.100 | 0.50 | 2.0 | 0% | 0% |" in text
    before = [p.split("<!-- results unused -->")[0] for p in (PAGE.read_text(), text)]
    assert before[0] == before[1]
