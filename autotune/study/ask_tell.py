"""The one door between a study and Optuna: propose, start, tell.

Optuna is the ledger: every trial has its row there under the record's own number, for the
dashboard and for whoever knows Optuna. What to try next comes from a `Proposer`.
"""

import json
from dataclasses import replace
from datetime import UTC
from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from autotune.analysis.comparable import comparable
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.space import Given, SearchSpace
from autotune.spec.study import StudySpec
from autotune.store.records import TrialStore
from autotune.study.agenda import KILLED
from autotune.study.attributes import attributes_of
from autotune.study.distributions import distributions_of, raw_values, suggest
from autotune.study.outcomes import constraints_of, told_as
from autotune.study.proposals import Completes, Proposer
from autotune.study.storage import (
    displayed_values,
    frozen,
    open_ledger,
    write_attributes,
    writing,
)

ASKED: Final = "asked"
"""User attribute: the configuration as JSON, so that a trial cut off by a crash can be named."""


class AskTell:
    """Proposes configurations, gives numbers, tells results.

    Args:
        store: Its records are told to the proposer, so that a study goes on where it was.

    Raises:
        StoreError: If the database cannot be used.
    """

    def __init__(
        self, spec: StudySpec, space: SearchSpace, store: TrialStore, proposer: Proposer
    ) -> None:
        self._spec, self._space, self._store = spec, space, store
        self._proposer = proposer
        self._distributions = distributions_of(space)
        self._ledger = open_ledger(store.paths, spec, space, store)
        records = store.records()
        self._running: dict[int, optuna.Trial] = {}
        self._seen = {r.configuration for r in records if not r.is_interrupted}
        for record in comparable(records, spec.objectives, towards="first"):
            proposer.learn(record.configuration, told_as(record, spec))

    @property
    def space(self) -> SearchSpace:
        """What may be proposed."""
        return self._space

    @property
    def ledger(self) -> optuna.Study:
        """Optuna's study."""
        return self._ledger

    def ask(self) -> Configuration | None:
        """A configuration not tried yet; None if the space holds no further one."""
        return self._proposer.propose(self._seen)

    def give(self, given: Given) -> None:
        """Complete proposals that do not say otherwise; not where the proposer cannot."""
        if isinstance(self._proposer, Completes):
            self._proposer.give(given)

    @property
    def expected_gain(self) -> float | None:
        """Of the last proposal: share of the front's hypervolume; None where nobody knows."""
        return self._proposer.expected_gain

    def start(self, configuration: Configuration, kind: TrialKind, label: str = "") -> int:
        """Enter a trial as running; its number.

        Raises:
            StoreError: If the database cannot be written.
        """
        raw = raw_values(self._space, configuration)
        with writing(self._store.paths.database):
            asked = json.dumps(configuration.values)
            attributes = {"kind": kind.value, ASKED: asked, **({"label": label} if label else {})}
            self._ledger.enqueue_trial(dict(raw), user_attrs=attributes)
            trial = self._ledger.ask()
            for name in raw:
                parameter = self._space.parameter(name)
                if parameter is not None:
                    suggest(trial, parameter)
        self._running[trial.number] = trial
        self._seen.add(configuration)
        return trial.number

    def tell(self, record: TrialRecord, learnt: TrialRecord | None = None) -> None:
        """Finish a trial; its record must be in the store already.

        Args:
            record: As measured: what is written down.
            learnt: What the proposer learns, where that differs: figures as on another machine.

        Raises:
            StoreError: If the database cannot be written; the next run tells it then.
        """
        self._write_down(record)
        self._proposer.learn(record.configuration, told_as(learnt or record, self._spec))
        if record.is_interrupted:
            self._seen.discard(record.configuration)
        else:
            self._seen.add(record.configuration)

    def _write_down(self, record: TrialRecord) -> None:
        told = told_as(record, self._spec)
        trial = self._running.pop(record.number)
        with writing(self._store.paths.database):
            attributes = attributes_of(record, root=self._store.paths.root)
            write_attributes(trial, constraints=told.constraints, attributes=attributes)
            values = displayed_values(told, self._spec)
            self._ledger.tell(trial, values, state=told.state)
            self._forget_details(record.number)

    def _forget_details(self, number: int) -> None:
        """Leave of Optuna's own copy of a finished trial its number, state, values and times.

        It keeps every finished trial in memory for as long as the study runs: a hundred
        attributes each, and distributions of its own. The dashboard reads them, from the
        database; this ledger is never asked for a proposal.
        """
        trial = self._ledger.get_trials(deepcopy=False)[number]
        trial.user_attrs, trial.system_attrs = {}, {}
        trial.params, trial.distributions = {}, {}

    def add_finished(self, record: TrialRecord) -> None:
        """Enter a trial that never ran (screened), in one step."""
        with writing(self._store.paths.database):
            self._ledger.add_trial(
                frozen(record, self._spec, self._space, self._distributions,
                       root=self._store.paths.root)
            )  # fmt: skip
            self._forget_details(record.number)
        self._proposer.learn(record.configuration, told_as(record, self._spec))
        self._seen.add(record.configuration)

    def next_number(self) -> int:
        """The number that the next trial will get."""
        return len(self._ledger.get_trials(deepcopy=False))

    def sweep(self) -> tuple[TrialRecord, ...]:
        """End trials that a dead autotune left running.

        A trial whose record had reached the disk is told now. For the others a record is written
        that says so, which the loop retries once. Left running they would repel the sampler; left
        waiting they would lend their numbers and parameters to the trials that come next.
        """
        while self._ledger.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            with writing(self._store.paths.database):
                self._ledger.ask()
        known = {record.number: record for record in self._store.records()}
        ended = []
        for trial in self._ledger.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._running[trial.number] = optuna.Trial(self._ledger, trial._trial_id)  # noqa: SLF001
            record = known.get(trial.number)
            if record is not None:  # what it tells has been learnt from the store
                self._write_down(record)
                continue
            record = _orphan(trial, self._spec)
            self._store.append(record)
            ended.append(record)
            self.tell(record)
        return tuple(ended)


def _orphan(trial: FrozenTrial, spec: StudySpec) -> TrialRecord:
    """The record of a trial whose controller died."""
    attributes = trial.user_attrs
    failure = Failure(
        kind=FailureKind.KILLED_FROM_OUTSIDE,
        phase="unknown",
        message=KILLED,
    )
    start = trial.datetime_start  # Optuna keeps it local and naive
    record = TrialRecord(
        study=spec.name,
        number=trial.number,
        kind=TrialKind(attributes.get("kind", TrialKind.SEARCH)),
        label=str(attributes.get("label", "")),
        configuration=Configuration.of(json.loads(attributes.get(ASKED, "{}"))),
        outcome=Outcome(status=OutcomeStatus.FAILED, failure=failure),
        simulated=spec.engine.name == "simulated",
        wall_start="" if start is None else start.astimezone(UTC).isoformat(),
    )
    return replace(record, constraints=constraints_of(record, spec))
