"""Whole studies on a landscape, in virtual time and in memory.

The loop is the product's own. What a disk and Optuna's database would keep is kept in lists, for
writing it down takes most of a study's time and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from autotune.clock import VirtualClock
from autotune.paths import StudyPaths
from autotune.records import (
    Applied,
    Configuration,
    PhaseSpan,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Screening, Settled
from autotune.seams.events import ignore
from autotune.seams.trial import TrialRequest
from autotune.spec.study import StudySpec
from autotune.store import TrialStore
from autotune.store.records import Stored
from autotune.study.ask_tell import AskTell
from autotune.study.loop import run_study
from autotune.study.outcomes import told_as
from autotune.study.proposals import Known, Proposer, proposer_for
from benchmarks.search.problem import Problem
from benchmarks.search.synthetic import SyntheticProblem

TRIAL_S = 300
DEFAULTS: Final[Mapping[str, Scalar]] = {
    "gpu_memory_utilization": 0.92,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "kv_offload_gib": 0,
}
"""What the landscape runs with where nothing is asked (`landscape.behave`)."""


@dataclass(frozen=True, kw_only=True)
class BenchRunner:
    """Runs trials of a landscape in virtual time.

    A trial's luck hangs on its number alone, so that a study can be gone on with.
    """

    problem: SyntheticProblem
    clock: VirtualClock
    seed: int

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Measure with noise."""
        start_ns = self.clock.now_ns()
        await self.clock.sleep(TRIAL_S)
        rng = np.random.default_rng((self.seed, 2, request.number))
        record = self.problem.measure(request.number, request.configuration, rng)
        span = PhaseSpan(name="all", start_ns=start_ns, end_ns=self.clock.now_ns())
        record = replace(record, kind=request.kind, label=request.label, phases=(span,))
        return replace(record, applied=read_back(request.configuration, self.problem))

    def screen(self, configuration: Configuration) -> Screening:
        """The landscape's."""
        return self.problem.screen(configuration)

    def settle(self, configuration: Configuration) -> Settled:
        """Everything can be set."""
        return Settled(configuration=configuration)


def read_back(configuration: Configuration, problem: SyntheticProblem) -> Applied:
    """What a server would say that it runs with, where the landscape gives its default a value."""
    longest = problem.physics.longest_default
    return Applied(settings={**DEFAULTS, "max_model_len": longest, **configuration.values})


class MemoryStore(TrialStore):
    """Records in a list."""

    def __init__(self, study: str, records: tuple[TrialRecord, ...] = ()) -> None:
        super().__init__(StudyPaths(Path(study)))
        self._records = {record.number: record for record in records}

    def append(self, record: TrialRecord) -> None:
        """Keep a record."""
        self._records[record.number] = record

    def read_all(self, *, mend: bool = False) -> Stored:  # noqa: ARG002 - nothing is ever damaged
        """Every record, by number."""
        return Stored(records=tuple(self._records[n] for n in sorted(self._records)))

    def set_aside(self) -> tuple[Path, ...]:
        """Nothing is."""
        return ()

    def next_number(self) -> int:
        """One above the last."""
        return max(self._records, default=-1) + 1


class MemoryAskTell(AskTell):
    """Proposals and numbers without a database."""

    def __init__(self, spec: StudySpec, problem: Problem, store: TrialStore) -> None:
        self._spec, self._space, self._store = spec, problem.space, store
        self._proposer: Proposer = proposer_for(spec, problem.space, Known(prior=problem.prior))
        records = store.records()
        self._seen = {record.configuration for record in records}
        self._next = store.next_number()
        for record in records:
            self._proposer.learn(record.configuration, told_as(record, spec))

    def start(self, configuration: Configuration, kind: TrialKind, label: str = "") -> int:  # noqa: ARG002
        """The next number."""
        self._seen.add(configuration)
        self._next += 1
        return self._next - 1

    def tell(self, record: TrialRecord, learnt: TrialRecord | None = None) -> None:
        """Learn from a trial."""
        self._proposer.learn(record.configuration, told_as(learnt or record, self._spec))

    def add_finished(self, record: TrialRecord) -> None:
        """Learn from one that never ran."""
        self._next += 1
        self._seen.add(record.configuration)
        self.tell(record)

    def next_number(self) -> int:
        """The number that the next trial will get."""
        return self._next

    def sweep(self) -> tuple[TrialRecord, ...]:
        """Nothing is left running."""
        return ()


def whole_study(
    problem: SyntheticProblem, spec: StudySpec, *, seed: int, records: tuple[TrialRecord, ...] = ()
) -> tuple[TrialRecord, ...]:
    """Run a study to its end, or go on with one.

    Args:
        problem: The landscape.
        spec: What is wanted on it.
        seed: Of the noise.
        records: Trials that were run before.
    """
    clock = VirtualClock()
    store = MemoryStore(spec.name, records)
    end = clock.run(
        run_study(
            spec,
            runner=BenchRunner(problem=problem, clock=clock, seed=seed),
            store=store,
            ask_tell=MemoryAskTell(spec, problem, store),
            observer=ignore,
            clock=clock,
        )
    )
    return end.records
