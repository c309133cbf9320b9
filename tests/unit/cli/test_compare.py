"""`autotune compare`: two trials of one study, or what two studies recommend."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.commands.compare import compare
from autotune.cli.sides import Side, interval_of
from autotune.errors import UsageError
from autotune.paths import StudyPaths
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.store import TrialStore
from autotune.store.study_file import write_study
from tests.support.records import record

Said = Callable[..., str]
SPACE = space_from({"name": "s", "parameters": {"a": {"choices": [1, 2]}}}, where="test")


def trial(study: str, number: int, speed: float, kind: TrialKind, **values: int) -> TrialRecord:
    """A feasible trial with one objective that is not always the same."""
    return record(
        number,
        study=study,
        kind=kind,
        config=Configuration.of(values),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": 1e9,
            "context_capacity_tokens": 50_000.0,
        },
    )


def proved_study(name: str, lucky: float, *proofs: float) -> list[TrialRecord]:
    """A winner whose trial in the search was lucky, and its proofs beside two others."""
    records = [
        trial(name, 0, 1000.0, TrialKind.BASELINE),
        trial(name, 1, lucky, TrialKind.SEARCH, a=1),
        trial(name, 2, 900.0, TrialKind.SEARCH, a=2),
    ]
    for speed in proofs:
        for value, values in ((1000.0, {}), (speed, {"a": 1}), (900.0, {"a": 2})):
            records.append(trial(name, len(records), value, TrialKind.FINALIST, **values))
    return records


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Said:
    """Runs the command over two stored studies; its words, each once apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, records in {
        "old": proved_study("old", 2600.0, 1980.0, 2000.0, 2020.0),
        "new": proved_study("new", 1900.0, 2178.0, 2200.0, 2222.0),
    }.items():
        paths = StudyPaths(tmp_path / "studies" / name)
        paths.root.mkdir(parents=True)
        write_study(paths, study_from({"name": name}, where="test"), SPACE)
        store = TrialStore(paths, name)
        for made in records:
            store.append(made)

    def run(*arguments: str) -> str:
        compare(*arguments)
        return " ".join(capsys.readouterr().out.split())

    return run


def test_recommendations_are_compared_by_the_means_over_their_proofs(said: Said) -> None:
    """2,000 against 2,200 by the proofs; the lucky 2,600 of the search is not looked at."""
    text = said("old", "new")
    assert "2,000 tok/s 2,200 tok/s +10.0%" in text, text
    assert "2,600" not in text
    assert "of old over the trials 4, 7, 10 and of new over the trials 4, 7, 10" in text
    assert "yes" in text


def test_two_trials_of_one_study_may_be_named_in_two_ways(said: Said) -> None:
    """By the study once and two numbers, or each with its study."""
    assert said("old", "4", "7") == said("old:4", "old:7")
    assert "within the noise" in said("old", "4", "7")


def test_two_loads_are_told_apart(said: Said) -> None:
    """A lower load is faster to answer, whatever the settings are."""
    assert "different loads" not in said("old", "new")
    paths = StudyPaths(Path.cwd() / "studies" / "quiet")
    paths.root.mkdir(parents=True)
    load = {"concurrency": 10, "requests": 40}
    write_study(paths, study_from({"name": "quiet", "workload": load}, where="test"), SPACE)
    store = TrialStore(paths, "quiet")
    for made in proved_study("quiet", 1900.0, 2178.0, 2200.0, 2222.0):
        store.append(made)
    text = said("old", "quiet")
    assert "workload.concurrency 100 10 workload.requests 300 40" in text
    assert "They were asked for different loads: figures differ for that, too." in text


def test_trials_of_two_machines_are_compared_as_on_one(said: Said) -> None:
    """The second card runs the default at half the speed: 2,400 on the first are 1,200 there."""
    paths = StudyPaths(Path.cwd() / "studies" / "moved")
    paths.root.mkdir(parents=True)
    write_study(paths, study_from({"name": "moved"}, where="test"), SPACE)
    store = TrialStore(paths, "moved")
    for number, (speed, kind, values, card) in enumerate((
        (2000.0, TrialKind.BASELINE, {}, "GPU-1"),
        (2400.0, TrialKind.SEARCH, {"a": 1}, "GPU-1"),
        (1000.0, TrialKind.BASELINE, {}, "GPU-2"),
        (1200.0, TrialKind.SEARCH, {"a": 2}, "GPU-2"),
    )):  # fmt: skip
        made = trial("moved", number, speed, kind, **values)
        store.append(replace(made, applied=None, environment={"gpu_uuid": card}))
    assert "1,200 tok/s 1,200 tok/s" in said("moved", "1", "3")


def test_what_a_first_start_lacks_and_what_is_an_estimate_are_said(said: Said) -> None:
    """Of the default's first start only the start-up is left; of another one 50,000 is 75,000."""
    paths = StudyPaths(Path.cwd() / "studies" / "small")
    paths.root.mkdir(parents=True)
    write_study(paths, study_from({"name": "small"}, where="test"), SPACE)
    store = TrialStore(paths, "small")
    for number, (kind, values, capacity, compiled_s) in enumerate((
        (TrialKind.BASELINE, {}, 20_000.0, 30.0),
        (TrialKind.BASELINE, {}, 30_000.0, 5.0),
        (TrialKind.SEARCH, {"a": 1}, 50_000.0, 30.0),
    )):  # fmt: skip
        made = trial("small", number, 1000.0, kind, **values)
        more = {"context_capacity_tokens": capacity, "startup_compile_ns": compiled_s * 1e9}
        store.append(replace(made, applied=None, metrics={**made.metrics, **more}))
    text = said("small", "1", "2")
    assert "30,000 tokens ~75,000 tokens" in text
    assert "~ not measured: started for the first time only" in text
    assert "small:0: first start" in said("small", "0", "1")
    assert "first start" not in said("old", "4", "7")


@pytest.mark.parametrize(
    "arguments", [("old", "x", "7"), ("old", "4", "-7"), ("old:4", "4", "7"), ("old", "99", "7")]
)
def test_what_names_no_trial_is_said(said: Said, arguments: tuple[str, ...]) -> None:
    """A word, a sign, a study that is one trial already, a number that there is not."""
    with pytest.raises(UsageError):
        said(*arguments)


def test_the_interval_is_that_of_the_means() -> None:
    """Three trials a side with an assumed noise of 3%: 2 * 0.03 * sqrt(2 / 3) around the ratio."""
    names = ("a", "b", "c")
    mine = tuple(
        trial("s", i, 100.0, TrialKind.SEARCH, **{name: 1}) for i, name in enumerate(names)
    )
    theirs = tuple(
        trial("s", 10 + i, 110.0, TrialKind.SEARCH, **{name: 1}) for i, name in enumerate(names)
    )
    one = Side(name="x", record=mine[0], trials=mine, records=mine)
    other = Side(name="y", record=theirs[0], trials=theirs, records=theirs)
    interval = interval_of("output_tokens_per_s", one, other)
    reach = 2 * 0.03 * math.sqrt(2 / 3)
    assert interval == pytest.approx((1.1 * math.exp(-reach), 1.1 * math.exp(reach)))


def test_a_machine_gets_both_sides_and_every_figure_raw(
    said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the interval of the ratio, and whether it is a difference."""
    capsys.readouterr()
    compare("old", "old:0", json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["event"] == "result"
    assert found["first"]["configuration"] == {"a": 1}
    assert found["differences"] == {"a": [1, None]}
    assert found["workload"] == {}
    by_tag = {metric["metric"]: metric for metric in found["metrics"]}
    speed = by_tag["output_tokens_per_s"]
    assert speed["first"] == pytest.approx(2000.0, rel=1e-3)
    assert speed["second"] == 1000.0
    low, high = speed["ratio_interval"]
    assert low < 0.5 < high
    assert speed["is_difference"] is True
    assert by_tag["ttft_8k_ns"]["is_difference"] is False


def test_what_is_counted_has_no_interval(said: Said) -> None:
    """As in the report: the noise of times says nothing of a number of tokens."""
    text = said("old", "new")
    assert "50,000 tokens 50,000 tokens +0.0% \N{EN DASH} the same" in text
