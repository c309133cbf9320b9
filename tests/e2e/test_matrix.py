"""The fixed matrix on real vLLM: what this release lacks is said in its cell."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotune.records import FailureKind, OutcomeStatus, TrialRecord
from tests.e2e.conftest import RealStudy, real_study
from tests.support.command import Finished

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A matrix that was run, and run again."""

    study: RealStudy
    first: Finished
    again: Finished
    cells: dict[str, TrialRecord]

    def file(self, name: str) -> str:
        """A file that the matrix wrote."""
        return (self.study.place.folder / "studies" / self.study.name / name).read_text()


@pytest.fixture(scope="module")
def matrix(deployer: str, folder: Path) -> Iterator[Measured]:
    """Baseline, A and B, tests 1 to 3; then the same command once more."""
    study = real_study(deployer, folder)
    command = ("matrix", "--study", str(study.file), "--name", study.name,
               "--configs", "baseline,A,B", "--tests", "1-3")  # fmt: skip
    first = study.place.run(*command, timeout_s=500)
    again = study.place.run(*command, timeout_s=60)
    cells = {record.label: record for record in study.records()}
    yield Measured(study=study, first=first, again=again, cells=cells)
    assert study.left_running() == []


def test_the_table_is_filled(matrix: Measured) -> None:
    """Configurations down, tests across: in the terminal, as Markdown and as CSV."""
    assert matrix.first.code == 0, matrix.first.errors
    rows = list(csv.reader(matrix.file("matrix.csv").splitlines()))
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1
    for text in (matrix.first.output, matrix.file("matrix.md")):
        for cell in ("Baseline", "A: V1 + async", "B: multi-step"):
            assert cell in text


def test_the_baseline_is_measured(matrix: Measured) -> None:
    """With what is left of it: vLLM on the CPU has no choice of attention backends."""
    baseline = matrix.cells["baseline"]
    assert baseline.outcome.status is OutcomeStatus.MEASURED
    assert baseline.metrics["output_tokens_per_s"]
    assert baseline.metrics["startup_ns"]
    assert "attention_backend" in baseline.left_out


def test_multi_step_is_unsupported_by_this_release(matrix: Measured) -> None:
    """Cell B was not started: the record and the table say why."""
    cell = matrix.cells["B"]
    assert cell.outcome.status is OutcomeStatus.SCREENED
    assert cell.outcome.failure is not None
    assert cell.outcome.failure.kind is FailureKind.UNSUPPORTED_COMBINATION
    assert "scheduler_steps" in cell.outcome.failure.message
    assert not (matrix.study.place.trial(matrix.study.name, cell.number) / "engine.log").exists()


def test_a_cell_runs_with_what_is_left_of_it(matrix: Measured) -> None:
    """Cell A on a CPU: V1 is the only engine; asynchronous scheduling is off whatever is asked."""
    cell = matrix.cells["A"]
    assert cell.outcome.status is OutcomeStatus.MEASURED
    assert cell.metrics["output_tokens_per_s"]
    assert cell.configuration.get("v1_engine") is None
    assert any(note.startswith("v1_engine: ") for note in cell.notes)
    asked = cell.configuration.get("async_scheduling")
    assert asked is True or "async_scheduling" in cell.left_out


def test_a_finished_matrix_measures_nothing_again(matrix: Measured) -> None:
    """The same command prints the same table from the records."""
    assert matrix.again.code == 0, matrix.again.errors
    assert len(matrix.cells) == 3
    assert len(matrix.study.records()) == 3
    assert "Baseline" in matrix.again.output
