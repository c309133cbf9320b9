"""The order of a verification's trials, and what ends it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autotune.cli.verify.rounds import DEFAULT, EXPORTED, Arm, by_arm, measure_rounds
from autotune.clock import VirtualClock
from autotune.errors import DeployerError, ImageMissingError
from autotune.paths import StudyPaths
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Screening, Settled
from autotune.seams.events import Event, Notice, TrialEnded, TrialStarted
from autotune.seams.trial import TrialRequest
from autotune.spec.study import study_from
from autotune.store import TrialStore

SPEC = study_from({"name": "s", "budget": {"retries": 1},
                   "limits": [{"metric": "ttft_8k_ns", "at_most_s": 2}]}, where="test")  # fmt: skip
PLAIN, TUNED = Configuration(), Configuration.of({"max_num_seqs": 64})

OOM = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="out of memory")
FAULT = Failure(kind=FailureKind.DEPLOYER_FAULT, phase="starting", message="Docker went away")
STOPPED = Failure(kind=FailureKind.INTERRUPTED, phase="starting", message="stopped by the user")


@dataclass
class FakeRunner:
    """Ends trials one after the other as told, then as measured."""

    ends: list[Failure | BaseException | None] = field(default_factory=list)
    starts: list[tuple[float, float]] = field(default_factory=list)
    """Of each trial in turn: seconds of compilation, tokens of KV cache."""
    requests: list[TrialRequest] = field(default_factory=list)

    async def run(self, request: TrialRequest) -> TrialRecord:
        """As told."""
        self.requests.append(request)
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, BaseException):
            raise end
        status = OutcomeStatus.MEASURED
        if end is not None:
            status = OutcomeStatus.INFEASIBLE if end is OOM else OutcomeStatus.FAILED
        start: dict[str, float | None] = {}
        if self.starts:
            compiled_s, tokens = self.starts.pop(0)
            start = {"startup_compile_ns": compiled_s * 1e9, "context_capacity_tokens": tokens}
        return TrialRecord(
            study="s",
            number=request.number,
            kind=request.kind,
            label=request.label,
            configuration=request.configuration,
            outcome=Outcome(status=status, failure=end),
            limits=(LimitCheck(metric="ttft_8k_ns", bound=2e9, value=3e9, kept=False),),
            metrics={"ttft_8k_ns": 3e9, **start},
        )

    def screen(self, configuration: Configuration) -> Screening:
        """Nobody asks."""
        raise AssertionError(configuration)

    def settle(self, configuration: Configuration) -> Settled:
        """Nobody asks."""
        raise AssertionError(configuration)


@dataclass
class Bench:
    """A store, two runners, and what was told."""

    store: TrialStore
    default: FakeRunner = field(default_factory=FakeRunner)
    exported: FakeRunner = field(default_factory=FakeRunner)
    events: list[Event] = field(default_factory=list)

    def measure(self, repeats: int) -> tuple[TrialRecord, ...]:
        """So many rounds."""
        return VirtualClock().run(
            measure_rounds(
                Arm(label=DEFAULT, configuration=PLAIN, runner=self.default),
                Arm(label=EXPORTED, configuration=TUNED, runner=self.exported),
                SPEC,
                repeats=repeats,
                store=self.store,
                observer=self.events.append,
            )
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A study of which trial 0 is on disk."""
    store = TrialStore(StudyPaths(tmp_path / "s"))
    measured = Outcome(status=OutcomeStatus.MEASURED)
    store.append(TrialRecord(study="s", number=0, kind=TrialKind.BASELINE, configuration=PLAIN,
                             outcome=measured))  # fmt: skip
    return Bench(store)


def labels(records: Sequence[TrialRecord]) -> list[str]:
    """Whose turn it was."""
    return [record.label for record in records]


def test_default_and_exported_take_turns(bench: Bench) -> None:
    """Each deployed afresh, numbered after the study's own trials, and on disk."""
    made = bench.measure(3)
    assert labels(made) == [DEFAULT, EXPORTED] * 3
    assert [r.number for r in made] == [1, 2, 3, 4, 5, 6]
    assert [r.configuration for r in made] == [PLAIN, TUNED] * 3
    assert {r.kind for r in made} == {TrialKind.VERIFY}
    assert bench.store.records()[1:] == made


def test_its_trials_are_no_candidates_of_the_study(bench: Bench) -> None:
    """They break a limit and are measured nevertheless; the sampler hears of the limit."""
    made = bench.measure(1)
    assert all(r.is_measured and not r.is_feasible for r in made)
    assert all(r.constraints["limit:ttft_8k_ns"] > 0 for r in made)


def test_files_that_fail_end_it(bench: Bench) -> None:
    """Nothing is left to compare."""
    bench.exported.ends = [None, OOM]
    assert labels(bench.measure(3)) == [DEFAULT, EXPORTED] * 2


def test_a_default_that_fails_is_not_tried_again(bench: Bench) -> None:
    """The files are measured without it."""
    bench.default.ends = [None, OOM]
    assert labels(bench.measure(3)) == [DEFAULT, EXPORTED, DEFAULT, EXPORTED, EXPORTED]


def test_what_failed_through_no_fault_of_the_files_is_run_again(bench: Bench) -> None:
    """As often as the study retries; then it counts."""
    bench.exported.ends = [FAULT, None, FAULT, FAULT]
    made = bench.measure(3)
    assert labels(made) == [DEFAULT, EXPORTED, EXPORTED, DEFAULT, EXPORTED, EXPORTED]


def test_ctrl_c_leaves_the_trial_on_disk(bench: Bench) -> None:
    """Whether the runner gave a record or was cut off itself."""
    bench.exported.ends = [STOPPED]
    with pytest.raises(asyncio.CancelledError):
        bench.measure(3)
    bench.default.ends = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        bench.measure(3)
    kinds = [r.outcome.failure.kind for r in bench.store.records() if r.outcome.failure is not None]
    assert kinds == [FailureKind.INTERRUPTED] * 2


@pytest.mark.parametrize("error", [ImageMissingError("no image"), DeployerError("no Docker")])
def test_what_stops_every_trial_is_raised_and_recorded(bench: Bench, error: DeployerError) -> None:
    """The folder of the trial has its record."""
    bench.exported.ends = [error]
    with pytest.raises(type(error)):
        bench.measure(3)
    last = bench.store.records()[-1]
    assert last.label == EXPORTED
    assert last.outcome.status is OutcomeStatus.FAILED


def test_a_first_start_is_made_up_for(bench: Bench) -> None:
    """It compiled and had less KV cache than what is served; what is asked for counts.

    As on 11 GiB of an H100, 27.9 s and 20,880 tokens against 5.5 s and 33,968.
    """
    bench.exported.starts = [(27.9, 20_880), (5.5, 33_968), (5.2, 33_968)]
    assert labels(bench.measure(2)) == [DEFAULT, EXPORTED, DEFAULT, EXPORTED, EXPORTED]
    starts = [e for e in bench.events if isinstance(e, TrialStarted)]
    assert (starts[-1].trials_done, starts[-1].trials_total) == (4, 5)
    assert any(isinstance(e, Notice) and "compiles" in e.text for e in bench.events)


def test_a_first_start_is_known_from_the_study(bench: Bench) -> None:
    """One repeat is enough where the study has started the same configuration before."""
    runner = FakeRunner(starts=[(5.5, 33_968)])
    request = TrialRequest(number=1, kind=TrialKind.SEARCH, configuration=TUNED)
    bench.store.append(VirtualClock().run(runner.run(request)))
    bench.exported.starts = [(27.9, 20_880), (5.2, 33_968)]
    assert labels(bench.measure(1)) == [DEFAULT, EXPORTED, EXPORTED]


def test_every_trial_is_told(bench: Bench) -> None:
    """Its start with its place among all, and its end."""
    bench.measure(2)
    starts = [e for e in bench.events if isinstance(e, TrialStarted)]
    assert [(e.trials_done, e.trials_total) for e in starts] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert sum(isinstance(e, TrialEnded) for e in bench.events) == 4


def test_records_are_told_apart_by_arm(bench: Bench) -> None:
    """By their labels alone."""
    arms = by_arm(bench.measure(2))
    assert {len(records) for records in arms.values()} == {2}
    assert {r.configuration for r in arms[EXPORTED]} == {TUNED}
