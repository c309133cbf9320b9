"""The fixed matrix on a runner that measures a made-up landscape."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.paths import StudyPaths
from autotune.records import Configuration, Failure, FailureKind, OutcomeStatus, TrialRecord
from autotune.seams.events import Event, Notice
from autotune.spec.matrix import MatrixSpec, matrix_from
from autotune.store import TrialStore
from autotune.study.matrix import run_matrix
from tests.unit.study.fakes import FakeRunner, study_spec

MATRIX = matrix_from(
    {
        "configurations": {
            "baseline": {"title": "Baseline", "reference": True, "configuration": {"backend": "X"}},
            "A": {"title": "A", "configuration": {"v1_engine": True, "async_scheduling": True}},
            "B": {"title": "B", "configuration": {"scheduler_steps": 10}},
            "D": {"title": "D", "configuration": {"kv_offload_gib": 32}},
            "E": {"title": "E", "configuration": {"kv_offload_gib": 80}},
            "MAX": {
                "title": "MAX",
                "configuration": {"scheduler_steps": 10, "kv_offload_gib": 64, "v1_engine": True},
            },
        }
    },
    where="test",
)
LACKING = {"scheduler_steps": "removed in 0.9"}
DEFAULT = {"v1_engine": "the only engine", "async_scheduling": "on by default", "backend": "auto"}


@dataclass
class Bench:
    """One matrix's folder and all that runs in it."""

    root: Path
    clock: VirtualClock = field(default_factory=VirtualClock)
    events: list[Event] = field(default_factory=list)
    runner: FakeRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = FakeRunner(self.clock, lacking=LACKING, default=DEFAULT)

    @property
    def store(self) -> TrialStore:
        return TrialStore(StudyPaths(self.root / "s"))

    def run(
        self, matrix: MatrixSpec = MATRIX, probes: list[str] | None = None
    ) -> dict[str, TrialRecord]:
        return self.clock.run(
            run_matrix(
                matrix.configurations,
                study_spec(probes=["throughput"]),
                runner=self.runner,
                store=self.store,
                observer=self.events.append,
                clock=self.clock,
                probes=probes,
            )
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty matrix."""
    return Bench(tmp_path)


def test_each_cell_has_its_record_in_order(bench: Bench) -> None:
    """Cells come back in the table's order, each with one record on disk."""
    cells = bench.run()
    assert list(cells) == list(MATRIX.configurations)
    assert [r.label for r in bench.store.records()] == list(MATRIX.configurations)


def test_the_reference_runs_whatever_is_left_of_it(bench: Bench) -> None:
    """Its only setting is the default anyway: it runs, for the others are compared with it."""
    baseline = bench.run()["baseline"]
    assert baseline.outcome.status is OutcomeStatus.MEASURED
    assert baseline.configuration == Configuration()
    assert "backend: auto" in baseline.notes


def test_a_cell_of_which_everything_is_lacking_says_why(bench: Bench) -> None:
    """It would be the baseline under another name, so it is not run and the reason is kept."""
    cell = bench.run()["B"]
    assert cell.outcome.status is OutcomeStatus.SCREENED
    assert cell.outcome.failure is not None
    assert cell.outcome.failure.kind is FailureKind.UNSUPPORTED_COMBINATION
    assert "scheduler_steps: removed in 0.9" in cell.outcome.failure.message
    assert cell.configuration == Configuration.of(MATRIX.configurations["B"].configuration)
    assert "B" not in {request.label for request in bench.runner.requests}


def test_a_cell_whose_settings_are_defaults_today_is_run_and_says_so(bench: Bench) -> None:
    """How far it is from the baseline is the noise."""
    cell = bench.run()["A"]
    assert cell.outcome.status is OutcomeStatus.MEASURED
    assert cell.configuration == Configuration()
    assert {"v1_engine: the only engine", "async_scheduling: on by default"} <= {*cell.notes}


def test_max_runs_with_what_is_left(bench: Bench) -> None:
    """What this release lacks is left out and named; the rest is measured."""
    cell = bench.run()["MAX"]
    assert cell.outcome.status is OutcomeStatus.MEASURED
    assert cell.configuration == Configuration.of({"kv_offload_gib": 64})
    assert cell.left_out == {"scheduler_steps": "removed in 0.9"}


def test_a_cell_that_would_not_fit_is_screened(bench: Bench) -> None:
    """The engine's verdict before the start is the cell's result."""
    cell = bench.run()["E"]
    assert cell.outcome.status is OutcomeStatus.SCREENED
    assert "no host memory" in str(cell.outcome.failure)


def test_it_goes_on_where_it_stopped(bench: Bench) -> None:
    """Ctrl-C keeps what is done; the next run redoes the cell that was cut off and the rest."""
    bench.runner.script = {
        3: Failure(kind=FailureKind.INTERRUPTED, phase="starting", message="Ctrl-C")
    }
    with pytest.raises(asyncio.CancelledError):
        bench.run()
    bench.run()
    assert [r.label for r in bench.runner.requests] == ["baseline", "A", "D", "D", "MAX"]
    done = len(bench.runner.requests)
    bench.run()
    assert len(bench.runner.requests) == done


def test_a_cell_that_failed_is_run_again(bench: Bench) -> None:
    """Once at once, and once more by the next command: the host's fault is no result."""
    port = Failure(kind=FailureKind.PORT_IN_USE, phase="starting", message="port")
    bench.runner.script = {0: port, 1: port}
    bench.run()
    baseline = [r for r in bench.runner.requests if r.label == "baseline"]
    assert len(baseline) == 2
    cells = bench.run()
    assert cells["baseline"].outcome.status is OutcomeStatus.MEASURED


def test_more_tests_measure_the_cells_again(bench: Bench) -> None:
    """A cell is done for the tests it has; others are asked for in a new trial."""
    bench.run(probes=["ttft"])
    before = len(bench.runner.requests)
    bench.run(probes=["ttft"])
    assert len(bench.runner.requests) == before
    bench.run(probes=["ttft", "memory"])
    assert [r.label for r in bench.runner.requests[before:]] == ["baseline", "A", "D", "MAX"]
    assert {r.probes for r in bench.runner.requests[before:]} == {("ttft", "memory")}


def test_a_cell_with_an_image_is_passed_on_whole(bench: Bench) -> None:
    """Another release may have what this one lacks: nothing is taken out of its cell."""
    raw = {"configurations": {"B": {"title": "B", "image": "vllm/vllm-openai:v0.8.5",
                                    "configuration": {"scheduler_steps": 10}}}}  # fmt: skip
    bench.run(matrix_from(raw, where="test"))
    (request,) = bench.runner.requests
    assert request.image == "vllm/vllm-openai:v0.8.5"
    assert request.configuration == Configuration.of({"scheduler_steps": 10})


def test_an_edited_cell_is_measured_again(bench: Bench) -> None:
    """A result stands for what its cell asked for then, not for what it asks for now."""
    bench.run()
    raw = {"configurations": {"D": {"title": "D", "configuration": {"kv_offload_gib": 48}}}}
    cells = bench.run(matrix_from(raw, where="test"))
    assert cells["D"].configuration == Configuration.of({"kv_offload_gib": 48})


def test_a_disturbed_cell_is_measured_again(tmp_path: Path) -> None:
    """Its repeat stands for it; one that is disturbed again stands as it is."""
    bench = Bench(tmp_path)
    bench.runner.disturbed = {0: "the card was hot", 2: "the card was hot", 3: "hot again"}
    cells = bench.run()
    assert cells["baseline"].number == 1
    assert not cells["baseline"].is_disturbed
    assert cells["A"].number == 3
    assert cells["A"].is_disturbed
    notes = [event.text for event in bench.events if isinstance(event, Notice)]
    assert notes[0] == "baseline was disturbed and is run again"
