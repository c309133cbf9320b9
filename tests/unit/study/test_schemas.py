"""A study whose records have another schema: an older one goes on, a newer one is left alone."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.program import run
from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import SCHEMA_VERSION
from autotune.store import codec, write_study
from autotune.study.loop import StudyEnd
from tests.unit.study.bench import TRIALS, Bench
from tests.unit.study.fakes import SPACE, study_spec

ROOT = Path(__file__).resolve().parents[3]
OLDER = SCHEMA_VERSION - 1


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Put a record down as another autotune would have, its checksum right."""
    raw = change(json.loads(path.read_text())["record"])
    compact = json.dumps(raw, separators=(",", ":"))
    checksum = hashlib.sha256(compact.encode()).hexdigest()
    path.write_text(json.dumps({"sha256": checksum, "record": raw}, indent=1) + "\n")


def to_older(raw: dict[str, Any]) -> dict[str, Any]:
    """A made-up schema before this one: times in seconds, the kind under another name."""
    made = {**raw, "schema_version": OLDER, "sort": raw["kind"]}
    made["phases"] = [
        {"name": p["name"], "start_s": p["start_ns"] / 1e9, "end_s": p["end_ns"] / 1e9}
        for p in raw["phases"]
    ]
    del made["kind"]
    return made


def to_this(raw: dict[str, Any]) -> dict[str, Any]:
    """Its step."""
    made = {**raw, "kind": raw["sort"]}
    made["phases"] = [
        {
            "name": p["name"],
            "start_ns": round(p["start_s"] * 1e9),
            "end_ns": round(p["end_s"] * 1e9),
        }
        for p in raw["phases"]
    ]
    del made["sort"]
    return made


def test_a_study_of_an_older_schema_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records are read as of now, none is run again, and the files stay as they were."""
    monkeypatch.setitem(codec.STEPS, OLDER, to_this)  # type: ignore[arg-type]
    before = bench.run().records
    files = [bench.store.paths.trial(record.number).record for record in before]
    for file in files:
        rewrite(file, to_older)
    as_written = [file.read_bytes() for file in files]
    assert bench.store.records() == before

    asked = len(bench.runner.requests)
    bench.store.paths.database.unlink()  # made again of them, too
    bench.spec = study_spec(budget={"trials": TRIALS + 2})
    after = bench.run().records

    assert after[:TRIALS] == before
    assert len(bench.runner.requests) == asked + 2
    assert [file.read_bytes() for file in files] == as_written
    rows = bench.open().ledger.trials
    assert [row.values is not None for row in rows[:TRIALS]] == [r.is_feasible for r in before]


def test_an_older_schema_without_a_step_is_damage_and_kept(bench: Bench) -> None:
    """It is told and set aside, its bytes are there, and its trial is run again."""
    bench.run()
    file = bench.store.paths.trial(1).record
    rewrite(file, to_older)
    as_written = file.read_bytes()
    (damaged,) = bench.store.read_all(mend=True).damaged
    assert f"never a schema version {OLDER}" in damaged.reason
    assert damaged.path.read_bytes() == as_written


def test_a_newer_schema_is_left_alone_by_the_next_run(bench: Bench) -> None:
    """Nothing is run, renamed or written: the newer autotune finds all as it left it."""
    bench.run()
    paths = bench.store.paths
    rewrite(
        paths.trial(2).record,
        lambda raw: {"schema_version": SCHEMA_VERSION + 1, "unheard_of": raw["number"]},
    )
    files = {path: path.read_bytes() for path in paths.trials.rglob("*") if path.is_file()}
    asked = len(bench.runner.requests)
    bench.spec = study_spec(budget={"trials": TRIALS + 2})
    with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION + 1}") as raised:
        bench.run()
    assert "newer autotune" in raised.value.hint
    assert len(bench.runner.requests) == asked
    assert {p: p.read_bytes() for p in paths.trials.rglob("*") if p.is_file()} == files


@pytest.mark.parametrize(
    "command",
    [["show", "s"], ["recommend", "s"], ["report", "s"], ["export", "s"],
     ["compare", "s", "0", "1"]],
    ids=lambda command: command[0],
)  # fmt: skip
def test_every_command_says_that_a_newer_autotune_wrote_it(
    command: list[str],
    finished: tuple[Bench, StudyEnd],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One message and a hint, exit code 11, the record untouched."""
    bench, _ = finished
    paths = StudyPaths(tmp_path / "studies" / "s")
    shutil.copytree(bench.store.paths.root, paths.root)
    write_study(paths, bench.spec, SPACE)
    file = paths.trial(1).record
    rewrite(file, lambda raw: {**raw, "schema_version": SCHEMA_VERSION + 1, "unheard_of": 1})
    as_written = file.read_bytes()
    monkeypatch.chdir(tmp_path)

    assert run(command) == StoreError.exit_code

    said = capsys.readouterr().err
    assert f"has schema version {SCHEMA_VERSION + 1}" in said
    assert "hint: Use the newer autotune" in said
    assert file.read_bytes() == as_written


WRITTEN = sorted((ROOT / "docs/results").rglob("trial.json"))


def test_records_that_earlier_autotunes_wrote_are_read() -> None:
    """Those of measured studies, each put down by the program as it was then."""
    assert len(WRITTEN) > 50
    for path in WRITTEN:
        found = codec.decode(path.read_text(encoding="utf-8"), where=str(path))
        assert found.number == int(path.parent.name)
        assert found.metrics or found.outcome.failure is not None
