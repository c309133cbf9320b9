"""The report's "The same study again" runs the same study again."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.cli.stored import stored_study
from autotune.records import TrialKind, TrialRecord

SMALL = """
engine: {name: simulated}
probes: [startup, throughput, memory]
objectives: [output_tokens_per_s, context_capacity_tokens]
workload: {requests: 20, concurrency: 10}
space:
  name: small
  parameters:
    kv_cache_dtype: {choices: [default, fp8]}
    max_num_seqs: {choices: [default, 16, 64, 128]}
    max_num_batched_tokens: {choices: [default, 1024, 4096]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study file of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def run(*arguments: str) -> None:
    """A command that ends well."""
    assert main.run([*arguments]) == 0


def told(name: str) -> list[str]:
    """The command that a report shows, without the program's name."""
    run("report", name)
    (file,) = (Path("studies") / name).glob("report*.md")
    text = re.search(r"The same study again:\s+```\w*\n(.*?)\n```", file.read_text(), re.DOTALL)
    assert text is not None
    program, *arguments = shlex.split(text[1])
    assert program == "autotune"
    return arguments


def asked_and_found(name: str) -> list[tuple[object, ...]]:
    """What each trial was, and what came of it."""
    return [of(record) for record in stored_study(name).records]


def of(record: TrialRecord) -> tuple[object, ...]:
    """Of one trial."""
    return record.kind, record.configuration, record.outcome, dict(record.metrics)


def test_a_study_that_took_seeds_is_the_same_again(here: Path) -> None:
    """Trial for trial, figure for figure, also when what it took them from has gone."""
    small = str(here / "small.yaml")
    run("study", small, "--name", "old", "--trials", "5", "--seed", "3", "--fresh")
    run("study", small, "--name", "new", "--trials", "7", "--seed", "5")
    records = stored_study("new").records
    assert TrialKind.SEED in {record.kind for record in records}
    command = told("new")
    shutil.rmtree(here / "studies" / "old")
    run(*command)
    assert asked_and_found("new-again") == asked_and_found("new")


def test_a_space_without_the_share_of_the_card_is_measured(here: Path) -> None:
    """The default of the simulated card is lowered to its headroom, and the rest with it."""
    run("study", str(here / "small.yaml"), "--name", "own", "--trials", "8", "--fresh")
    records = stored_study("own").records
    assert not records[0].is_feasible
    assert sum(record.is_feasible for record in records) >= 7
    shares = {r.configuration.get("gpu_memory_utilization") for r in records[1:]}
    assert len(shares) == 1
    assert None not in shares


def test_a_space_of_which_nothing_is_left_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first trial, with the reason, and nothing is left behind."""
    space = "space: {name: n, parameters: {scheduler_steps: {choices: [default, 8]}}}"
    (here / "gone.yaml").write_text(f"engine: {{name: simulated}}\n{space}\n")
    assert main.run(["study", str(here / "gone.yaml")]) == 3
    said = capsys.readouterr().err
    assert "leaves nothing of it (scheduler_steps: " in said
    assert not (here / "studies").exists()
