"""A study on a runner that measures a made-up landscape, and all that runs in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autotune.clock import VirtualClock
from autotune.paths import StudyPaths
from autotune.records import (
    Failure,
    FailureKind,
)
from autotune.seams.events import Event
from autotune.spec.study import StudySpec
from autotune.store import TrialStore
from autotune.study.ask_tell import AskTell
from autotune.study.loop import StudyEnd, run_study
from autotune.study.proposals import proposer_named
from tests.unit.study.fakes import SPACE, FakeRunner


@dataclass
class Bench:
    """One study's folder and all that runs in it."""

    root: Path
    spec: StudySpec
    clock: VirtualClock = field(default_factory=VirtualClock)
    events: list[Event] = field(default_factory=list)
    runner: FakeRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = FakeRunner(self.clock)

    @property
    def store(self) -> TrialStore:
        return TrialStore(StudyPaths(self.root / "s"))

    def open(self, sampler: str = "random") -> AskTell:
        return AskTell(self.spec, SPACE, self.store, proposer_named(sampler, self.spec, SPACE))

    def run(self, sampler: str = "random") -> StudyEnd:
        return self.clock.run(
            run_study(
                self.spec,
                runner=self.runner,
                store=self.store,
                ask_tell=self.open(sampler),
                observer=self.events.append,
                clock=self.clock,
            )
        )

    def of(self, kind: type[Event]) -> Iterator[Event]:
        return (event for event in self.events if isinstance(event, kind))


TRIALS = 6
"""Of the small study."""


def fail(kind: FailureKind) -> Failure:
    """A failure of a kind."""
    return Failure(kind=kind, phase="starting", message=f"words of {kind.value}")
