"""Default, exported, default, exported, ...: each deployed afresh and measured like any trial."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from autotune.analysis.first_starts import first_starts_of
from autotune.errors import AutotuneError
from autotune.records import Configuration, OutcomeStatus, TrialKind, TrialRecord
from autotune.seams.events import Notice, Observer, TrialEnded, TrialStarted
from autotune.seams.trial import TrialRequest, TrialRunner
from autotune.spec.study import StudySpec
from autotune.store.records import TrialStore
from autotune.study.agenda import is_stopped
from autotune.study.outcomes import constraints_of
from autotune.study.reference_answers import reference_answers
from autotune.study.synthetic_records import ended_early

DEFAULT: Final = "verify: default"
EXPORTED: Final = "verify: exported"
"""Labels of the two arms' trials."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the two that are compared.

    Attributes:
        label: `DEFAULT` or `EXPORTED`.
        configuration: What its server shall run with.
        runner: Starts it.
    """

    label: str
    configuration: Configuration
    runner: TrialRunner


async def measure_rounds(
    default: Arm,
    exported: Arm,
    spec: StudySpec,
    *,
    repeats: int,
    store: TrialStore,
    observer: Observer,
) -> tuple[TrialRecord, ...]:
    """Measure both arms in turn.

    Ends at once if the exported files fail, for then nothing is left to compare. A default that
    is infeasible is not tried again: the exported files are measured without it. A first start
    that compiles, and so has less KV cache than what is served, does not count: its arm is
    started once more for it.

    Returns:
        The records of this verification, in order; all are in the store.

    Raises:
        AutotuneError: What would stop every further trial too.
        CancelledError: After Ctrl-C, once the running trial is on disk.
    """
    rounds = _Rounds(spec, store, observer, total=2 * repeats)
    wanted = [default, exported]
    for _ in range(repeats):
        for arm in tuple(wanted):
            record = await rounds.measure(arm)
            if record.is_measured:
                continue
            if arm is exported:
                return rounds.records
            wanted.remove(arm)
    for arm in wanted:
        for _ in range(rounds.first_starts(arm)):
            rounds.one_more(arm)
            await rounds.measure(arm)
    return rounds.records


class _Rounds:
    def __init__(self, spec: StudySpec, store: TrialStore, observer: Observer, total: int) -> None:
        self._spec, self._store, self._observer, self._total = spec, store, observer, total
        self._before: Sequence[TrialRecord] = store.records()
        self._made: list[TrialRecord] = []

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        return tuple(self._made)

    def first_starts(self, arm: Arm) -> int:
        """How many of an arm's trials do not count, for they compiled and had less KV cache."""
        unlike = first_starts_of([*self._before, *self._made])
        return sum(r.label == arm.label and r.number in unlike for r in self._made)

    def one_more(self, arm: Arm) -> None:
        """Say that an arm is started again, beyond what was asked for."""
        self._total += 1
        text = f"{arm.label}: a first start compiles and has less KV cache; it is started once more"
        self._observer(Notice(text=text))

    async def measure(self, arm: Arm) -> TrialRecord:
        """One deployment; again, as often as a study would, if it was not the files' fault."""
        record = await self._once(arm)
        for _ in range(self._spec.budget.retries):
            if record.outcome.status is not OutcomeStatus.FAILED:
                break
            text = f"{arm.label} failed and is run again"
            self._observer(Notice(text=text, level="warning"))
            record = await self._once(arm)
        return record

    async def _once(self, arm: Arm) -> TrialRecord:
        request = TrialRequest(
            number=self._store.next_number(),
            kind=TrialKind.VERIFY,
            configuration=arm.configuration,
            label=arm.label,
            baseline=reference_answers(self._before),
        )
        self._announce(request)
        try:
            record = await arm.runner.run(request)
        except asyncio.CancelledError:
            self._keep(ended_early(self._spec, request, "interrupted by the user"))
            raise
        except AutotuneError as error:
            self._keep(ended_early(self._spec, request, f"the verification was ended: {error}"))
            raise
        self._keep(record)
        if is_stopped(record):
            raise asyncio.CancelledError
        return self._made[-1]

    def _keep(self, record: TrialRecord) -> None:
        record = replace(record, constraints=constraints_of(record, self._spec))
        self._store.append(record)
        self._made.append(record)
        self._observer(TrialEnded(record=record))

    def _announce(self, request: TrialRequest) -> None:
        self._observer(
            TrialStarted(
                number=request.number,
                kind=request.kind,
                label=request.label,
                configuration=request.configuration,
                trials_done=len(self._made),
                trials_total=self._total,
            )
        )


def by_arm(records: Sequence[TrialRecord]) -> Mapping[str, tuple[TrialRecord, ...]]:
    """Records of each arm, by its label."""
    return {label: tuple(r for r in records if r.label == label) for label in (DEFAULT, EXPORTED)}
