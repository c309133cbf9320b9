"""Commands that read a study: what they show, and that they write nothing."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from autotune.cli.commands.compare import compare
from autotune.cli.commands.dashboard import dashboard
from autotune.cli.commands.export import export
from autotune.cli.commands.listing import list_studies
from autotune.cli.commands.results import recommend, show
from autotune.cli.conclude import summarise
from autotune.cli.stored import stored_study
from autotune.errors import StoreError, UsageError
from autotune.paths import StudyPaths
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.deployment import LaunchPlan
from autotune.seams.engine import Fragile, ResolvedSpace
from autotune.spec.space import Condition, space_from
from autotune.spec.study import StudySpec
from autotune.store import TrialStore, write_resolution, write_study
from tests.support.launches import DOCKER
from tests.support.records import record as one_record
from tests.support.records import study_records

SPACE = space_from(
    {"name": "s", "parameters": {"kv_cache_dtype": {"choices": ["default", "fp8"]}}}, where="s"
)
FRAGILE = Fragile(
    name="fp8",
    settings=(Condition(parameter="kv_cache_dtype", values=("fp8",)),),
    reason="seen to answer wrongly",
)


def stored(records: tuple[TrialRecord, ...], name: str = "sample") -> StudyPaths:
    """A study under the current directory."""
    paths = StudyPaths(Path.cwd() / "studies" / name)
    write_study(paths, StudySpec(name=name), SPACE)
    write_resolution(paths, ResolvedSpace(space=SPACE, fragile=(FRAGILE,)))
    store = TrialStore(paths)
    for record in records:
        store.append(replace(record, study=name))
        paths.trial(record.number).launch.write_bytes(TypeAdapter(LaunchPlan).dump_json(DOCKER))
    return paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """A study of 30 trials, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return stored(study_records(30))


def snapshot(paths: StudyPaths) -> dict[Path, int]:
    """Every file and folder with the time of its last change."""
    return {p: p.stat().st_mtime_ns for p in paths.root.rglob("*")}


def test_who_reads_writes_nothing(paths: StudyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even what is damaged is set aside, and there is no lock."""
    record = paths.trial(4).record
    record.write_text(record.read_text()[:-30])
    before = snapshot(paths)
    show("sample")
    show("sample", trial=3)
    list_studies()
    export("sample", stdout=True)
    assert snapshot(paths) == before
    assert "the record of trial 4 is damaged" in capsys.readouterr().out


def test_a_damaged_record_that_was_set_aside_is_still_told(paths: StudyPaths) -> None:
    """Whoever went on with the study set it aside; what it said is missing all the same."""
    record = paths.trial(4).record
    record.write_text("{}")
    TrialStore(paths, "sample").read_all(mend=True)
    (line,) = stored_study("sample").damaged
    assert "trial.json.damaged" in line


def test_a_damaged_record_is_told_by_what_lists_and_compares(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer trials are counted and other repeats tell the noise: to people and to machines."""
    paths.trial(4).record.write_text("{}")
    list_studies()
    assert "warning: sample: the record of trial 4 is damaged" in capsys.readouterr().out
    list_studies(json=True)
    (study,) = last_line(capsys)["studies"]
    assert "trial 4" in study["damaged"][0]
    compare("sample", "0", "1")
    assert "warning: the record of trial 4 is damaged" in capsys.readouterr().err
    compare("sample", "0", "1", json=True)
    assert "trial 4" in last_line(capsys)["damaged"][0]


def test_a_preference_sticks_until_another_is_chosen(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """`show` and `export` follow what `recommend` was told."""
    chosen = {}
    for prefer in ("context", "throughput"):
        recommend("sample", prefer)  # type: ignore[arg-type] # one of the literals
        study = stored_study("sample")
        found = summarise(study.spec, study.paths, study.records).recommendation
        assert found is not None
        chosen[prefer] = found.record.number
        assert found.prefer == prefer
        capsys.readouterr()
        export("sample", stdout=True)
        assert f"trial {found.record.number} of study" in capsys.readouterr().out
        compose = (paths.recommended / "docker-compose.yml").read_text()
        assert f"trial {found.record.number} of study" in compose
    assert len(set(chosen.values())) == 2


def test_one_broken_study_hides_no_other(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has a row of its own, and a line that says what is wrong."""
    broken = stored(study_records(2), "broken")
    broken.spec.write_text("model: [\n")
    list_studies()
    told = capsys.readouterr().out
    assert "sample" in told
    assert "unreadable" in told
    assert "warning: broken: " in told


def test_a_list_tells_a_matrix_from_a_study_with_answer_and_last_change(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 80 columns, each study in rows of its own."""
    stored(tuple(replace(r, kind=TrialKind.MATRIX) for r in study_records(3)), "cells")
    recommend("sample")
    chosen = summarise(StudySpec(name="sample"), paths, study_records(30)).recommendation
    assert chosen is not None
    os.utime(paths.spec, (0, 0))
    for record in paths.trials.glob("*/trial.json"):
        os.utime(record, (86400 * 366, 86400 * 366))
    capsys.readouterr()
    list_studies()
    lines = capsys.readouterr().out.splitlines()
    (head, *_), matrix, study = (
        [line for line in lines if line.startswith(name)] for name in ("name", "cells", "sample")
    )
    assert head.split() == ["name", "kind", "trials", "answer", "changed", "model", "engine"]
    assert matrix[0].split()[1] == "matrix"
    assert study[0].split()[1] == "study"
    assert f"trial {chosen.record.number}" in study[0]
    assert "1971-01-02" in study[0]


def test_choosing_again_prints_the_verdict_and_not_every_trial(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """One screen, as a study ends; the tables are in `show`."""
    recommend("sample", "latency")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 45
    text = "\n".join(lines)
    assert "Recommended: trial" in text
    assert "criteria are met" in " ".join(text.split())
    assert f"written:  {paths.recommended / 'docker-compose.yml'}" in text
    assert "Pareto front" not in text


def test_a_trial_is_shown_with_its_settings_and_its_command(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was asked for, what the server says, and the line that started it."""
    record = next(r for r in stored_study("sample").records if r.command)
    show("sample", trial=record.number)
    told = capsys.readouterr().out
    for name, value in record.configuration.items:
        assert name in told
        assert str(value) in told
    assert "runs with" in told
    assert f"command: {record.command[0]} " in told


def test_a_failure_in_a_servers_words_repaints_no_terminal(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """C1 controls and overrides in its message reach neither people nor, unescaped, JSON."""
    message = "ValueError: \x9b2J\u202eowned\x1b[31m"
    failure = Failure(kind=FailureKind.DIED_UNDER_LOAD, phase="x", message=message)
    stored((*study_records(30), one_record(30, failure=failure)), name="taunted")
    show("taunted", trial=30)
    show("taunted", trial=30, json=True)
    told = capsys.readouterr().out
    assert "owned" in told
    assert not set(told) & set("\x9b\u202e\x1b")
    assert json.loads(told.splitlines()[-1])["record"]["outcome"]["failure"]["message"] == message


def infeasible() -> tuple[TrialRecord, ...]:
    """The sample, its last trial one that broke a limit."""
    *others, last = study_records(30)
    failure = Failure(
        kind=FailureKind.MEMORY_LIMIT, phase="probe:throughput", message="11.2 GiB of 10.9"
    )
    return (*others, replace(last, outcome=Outcome(status=OutcomeStatus.INFEASIBLE,
                                                   failure=failure)))  # fmt: skip


def test_an_infeasible_trial_is_exported_with_a_warning_and_nobody_elses_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal and at the head of the file."""
    monkeypatch.chdir(tmp_path)
    stored(infeasible())
    export("sample", trial=29, stdout=True)
    out, err = capsys.readouterr()
    assert "warning: trial 29 is no recommendation: it was infeasible (memory limit" in err
    assert "WARNING: trial 29 is no recommendation" in out
    assert "best combination" not in out
    assert "the search found" not in out


def test_what_is_fragile_is_said_where_the_study_ends_and_in_the_export(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the configuration that has it, and of no other."""
    fp8 = next(r.number for r in stored_study("sample").records
               if r.configuration.get("kv_cache_dtype") == "fp8")  # fmt: skip
    plain = next(r.number for r in stored_study("sample").records
                 if r.configuration.get("kv_cache_dtype") is None)  # fmt: skip
    told = {}
    for number in (fp8, plain):
        export("sample", trial=number, stdout=True)
        told[number] = capsys.readouterr().out
    assert "seen to answer wrongly" in told[fp8]
    assert "seen to answer wrongly" not in told[plain]

    study = stored_study("sample")
    summary = summarise(study.spec, study.paths, study.records)
    console = Console(file=io.StringIO(), width=80)
    summary.print(console)
    assert summary.findings.chosen is not None
    is_fp8 = summary.findings.chosen.configuration.get("kv_cache_dtype") == "fp8"
    assert isinstance(console.file, io.StringIO)
    assert ("warning: kv_cache_dtype=fp8: seen to answer" in console.file.getvalue()) == is_fp8


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one line of JSON that was written."""
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert found["event"] == "result"
    return found


def test_list_tells_a_machine_what_it_tells_people(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study that is broken is there with what is wrong."""
    broken = StudyPaths(paths.root.parent / "broken")
    broken.root.mkdir()
    broken.spec.write_text("{")
    list_studies(json=True)
    first, second = last_line(capsys)["studies"]
    assert first["study"] == "broken"
    assert "not YAML" in first["error"]
    assert (second["study"], second["kind"], second["trials"]) == ("sample", "study", 30)
    assert 0 < second["measured"] < 30


def test_show_tells_a_machine_every_trial_and_one_of_them_whole(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the names that records have; figures raw."""
    show("sample", json=True)
    whole = last_line(capsys)
    assert [record["number"] for record in whole["records"]] == list(range(30))
    assert whole["recommended"]["number"] in whole["front"]
    show("sample", trial=whole["recommended"]["number"], json=True)
    one = last_line(capsys)["record"]
    assert one["metrics"] == whole["recommended"]["metrics"]
    assert one["configuration"] == whole["recommended"]["configuration"]
    assert {"phases", "environment", "outcome", "wall_start"} <= one.keys()
    assert paths.trial(one["number"]).record.is_file()


def test_a_trial_that_was_never_started_has_no_log(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a table without a row."""
    failure = Failure(kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="too much")
    outcome = Outcome(status=OutcomeStatus.SCREENED, failure=failure)
    configuration = Configuration.of({"max_num_seqs": 64})
    TrialStore(paths).append(
        TrialRecord(study="sample", number=30, kind=TrialKind.SEARCH,
                    configuration=configuration, outcome=outcome)
    )  # fmt: skip
    show("sample", trial=30)
    told = capsys.readouterr().out
    assert "max_num_seqs" in told
    assert "log: none, for it was never started" in told
    assert "figures" not in told


def test_many_damaged_records_are_told_in_two_lines_by_the_list(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copied folder holds nothing else: the first with its reason, and how many more."""
    for number in range(5):
        paths.trial(number).record.write_text("{")
    list_studies()
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning:")]
    assert len(told) == 2
    assert "the record of trial 0 is damaged" in told[0]
    assert told[1] == "warning: sample: 4 more; `autotune show sample` names each"


def test_a_dashboard_without_a_database_says_what_shows_the_study(paths: StudyPaths) -> None:
    """Trials that came without it; a matrix, which never has one."""
    with pytest.raises(StoreError) as caught:
        dashboard("sample")
    assert "autotune report sample" in caught.value.hint
    cells = tuple(replace(r, kind=TrialKind.MATRIX, label="A") for r in study_records(2))
    stored(cells, name="cells")
    with pytest.raises(UsageError) as refused:
        dashboard("cells")
    assert "is a matrix" in refused.value.message
    assert not paths.database.exists()
