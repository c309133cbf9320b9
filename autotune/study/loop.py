"""A study from its first trial to its last: plan, screen, run, record, tell.

Every record is on disk before the sampler hears of it. Whatever ends the loop, the same command
goes on from there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from autotune.analysis.ablation import ablation_trials, next_ablation, untested_notice
from autotune.analysis.comparable import comparable
from autotune.analysis.finalists import next_finalist, next_round, proof_trials
from autotune.analysis.first_starts import search_alone
from autotune.analysis.front import front_numbers
from autotune.analysis.measurements import UTILIZATION
from autotune.analysis.mending import MENDINGS, next_mending, next_tidying, tidying_trials
from autotune.clock import Clock
from autotune.errors import AutotuneError
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Screening
from autotune.seams.events import Notice, Observer, TrialEnded, TrialStarted
from autotune.seams.trial import TrialRequest, TrialRunner
from autotune.spec.parameters import Given
from autotune.spec.study import StudySpec
from autotune.store.kept import kept
from autotune.store.records import TrialStore
from autotune.study.agenda import Planned, counts, is_stopped, next_planned
from autotune.study.ask_tell import AskTell
from autotune.study.budget import BudgetWatch, SettledRule
from autotune.study.end_time import run_within
from autotune.study.giving_up import abort_if_nothing_works, abort_if_the_host_fails, served
from autotune.study.lowered import given_share
from autotune.study.outcomes import constraints_of
from autotune.study.reference_answers import reference_answers
from autotune.study.settled import planned_baseline, planned_seeds
from autotune.study.synthetic_records import ended_early, predictions, screened

MAX_SCREENED_IN_A_ROW: Final = 500
"""Proposals refused by the screening, one after the other, before the study says so and ends."""


@dataclass(frozen=True, kw_only=True)
class StudyEnd:
    """How a study came to its end.

    Attributes:
        reason: One line for people.
    """

    records: tuple[TrialRecord, ...]
    reason: str


async def run_study(
    spec: StudySpec,
    *,
    runner: TrialRunner,
    store: TrialStore,
    ask_tell: AskTell,
    observer: Observer,
    clock: Clock,
) -> StudyEnd:
    """Run a study, or go on with one, until its budget is spent.

    Raises:
        NothingFeasibleError: If the first trials all fail; nothing further is tried.
        HostError: If several trials in a row fail by the host's fault.
        AutotuneError: What would stop every further trial too.
        CancelledError: After Ctrl-C, once the running trial is on disk.
    """
    loop = _Loop(spec, runner, store, ask_tell, observer, clock)
    return await loop.run()


class _Loop:
    def __init__(  # noqa: PLR0917 - built in one place
        self,
        spec: StudySpec,
        runner: TrialRunner,
        store: TrialStore,
        ask_tell: AskTell,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._spec, self._runner, self._store = spec, runner, store
        self._ask_tell, self._observer, self._clock = ask_tell, observer, clock
        self._watch = BudgetWatch.begin(spec.budget, clock)
        self._settled = SettledRule(spec.search.stop_below_gain)
        self._stopped = ""
        self._records: list[TrialRecord] = []
        self._compared: tuple[TrialRecord, ...] = ()
        self._resumed = 0

    async def run(self) -> StudyEnd:
        self._resume()
        baseline = planned_baseline(self._spec, self._runner, self._observer)
        seeds = planned_seeds(self._spec, self._runner, self._observer)
        reserved = sum(
            count(self._spec) for count in (proof_trials, ablation_trials, tidying_trials)
        )
        self._tell_of_small_budgets()
        screened_in_a_row = 0
        while True:
            reason = self._watch.spent(self._records)
            if reason is not None:
                return self._end(reason)
            self._give_up_where_nothing_helps()
            if screened_in_a_row >= MAX_SCREENED_IN_A_ROW:
                self._stop_searching(
                    f"{screened_in_a_row} proposals in a row could not have fitted"
                )
            given = self._given(baseline)
            planned = (
                self._due(baseline, [seed.completed(given) for seed in seeds])
                or self._mend(reserved)
                or self._propose(reserved=reserved)
                or self._prove()
                or self._ablate()
                or self._sharpen()
                or self._propose(reserved=0)  # nothing to prove: the search has it all
            )
            if planned is None:
                return self._end(self._stopped)
            record = await self._one(planned)
            is_screened = record.outcome.status is OutcomeStatus.SCREENED
            screened_in_a_row = screened_in_a_row + 1 if is_screened else 0

    def _due(self, baseline: Planned, seeds: Sequence[Planned]) -> Planned | None:
        return next_planned(
            self._records,
            baseline=baseline,
            seeds=seeds,
            retries=self._spec.budget.retries,
            baseline_repeats=self._spec.budget.baselines_at_start,
            baseline_every=self._spec.search.baseline_every,
            share=self._ask_tell.space.parameter(UTILIZATION),
        )

    def _given(self, baseline: Planned) -> Given | None:
        """The share of a default that had to be lowered: what sets none runs at it too."""
        given = given_share(self._records, baseline.configuration)
        if given is not None:
            self._ask_tell.give(given)
        return given

    def _propose(self, *, reserved: int) -> Planned | None:
        """The sampler's next configuration; None once the search is over."""
        if self._stopped or self._watch.search_is_over(self._records, reserved):
            return None
        configuration = self._ask_tell.ask()
        if configuration is None:
            self._stop_searching("every configuration of the space has been tried")
            return None
        if self._settled.is_settled(self._ask_tell.expected_gain):
            share = self._spec.search.stop_below_gain
            self._stop_searching(f"no proposal promises {share:.1%} more hypervolume")
            return None
        return Planned(configuration=configuration, kind=TrialKind.SEARCH)

    def _mend(self, reserved: int) -> Planned | None:
        """Among the last proposals of a search: what a harm keeps out, less what does it."""
        is_over = self._watch.search_is_over
        if is_over(self._records, reserved) or not is_over(self._records, reserved + MENDINGS):
            return None
        space = self._ask_tell.space
        configuration = next_mending(self._comparable(), self._spec, refusal=space.refusal)
        return _planned(configuration, TrialKind.SEARCH)

    def _prove(self) -> Planned | None:
        """A finalist that is due, where the budget holds proofs."""
        if proof_trials(self._spec) == 0:
            return None
        due = next_finalist(self._comparable(), self._spec, self._searched())
        return _planned(due, TrialKind.FINALIST)

    def _ablate(self) -> Planned | None:
        """What would be recommended, less what has not been shown to pay."""
        space = self._ask_tell.space
        records, spec = self._comparable(), self._spec
        configuration = next_ablation(records, spec, refusal=space.refusal)
        configuration = configuration or next_tidying(records, spec, refusal=space.refusal)
        return _planned(configuration, TrialKind.ABLATION)

    def _sharpen(self) -> Planned | None:
        """Another round of proofs from what is left of the budget.

        A search that ended by itself stops at the repeats.
        """
        if self._stopped or proof_trials(self._spec) == 0:
            return None
        due = next_round(self._comparable(), self._spec, self._searched())
        return _planned(due, TrialKind.FINALIST)

    def _comparable(self) -> tuple[TrialRecord, ...]:
        """Figures as on one machine: what is decided by comparing trials is decided by these."""
        if len(self._compared) != len(self._records):
            self._compared = comparable(self._records, self._spec.objectives)
        return self._compared

    def _searched(self) -> Sequence[TrialRecord] | None:
        return search_alone(self._records, lambda r: comparable(r, self._spec.objectives))

    def _tell_of_small_budgets(self) -> None:
        """Say so where settings will not be tested one less."""
        if text := untested_notice(self._spec):
            self._observer(Notice(text=text))

    def _stop_searching(self, reason: str) -> None:
        self._stopped = self._stopped or reason

    def _resume(self) -> None:
        """Take up what is on disk."""
        self._records = [kept(record) for record in self._store.read_all(mend=True).records]
        for path in self._store.set_aside():
            text = f"{path} is a damaged record; it was set aside and does not count"
            self._observer(Notice(text=text, level="warning"))
        orphans = self._ask_tell.sweep()
        self._records += map(kept, orphans)
        self._resumed = len(self._records)
        if self._records:
            done = sum(counts(record) for record in self._records)
            self._observer(Notice(text=f"going on with {self._spec.name!r}: {done} trials done"))

    def _end(self, reason: str) -> StudyEnd:
        return StudyEnd(records=self._store.records(), reason=reason)  # whole, from the disk

    async def _one(self, planned: Planned) -> TrialRecord:
        screening = self._screening(planned)
        if screening.failure is not None:
            return self._screened(planned, screening.failure, screening)
        number = self._ask_tell.start(planned.configuration, planned.kind, planned.label)
        self._announce(number, planned)
        request = TrialRequest(
            number=number,
            kind=planned.kind,
            configuration=planned.configuration,
            label=planned.label,
            left_out=dict(planned.left_out),
            baseline=reference_answers(self._records),
        )
        record, is_out_of_time = await self._run(request)
        predicted = {**predictions(screening), **record.predicted}
        self._finish(replace(record, predicted=predicted))
        if is_stopped(record) and not is_out_of_time:
            raise asyncio.CancelledError
        return record

    def _screening(self, planned: Planned) -> Screening:
        """What the engine says of a configuration before its start.

        A repair rests on figures of a trial, so no model's doubt about the card keeps it from
        its start.
        """
        screening = self._runner.screen(planned.configuration)
        failure = screening.failure
        is_doubt = failure is not None and failure.kind is FailureKind.WOULD_NOT_FIT
        if planned.kind is TrialKind.REPAIR and is_doubt and (screening.host_margin_gib or 0) >= 0:
            return replace(screening, failure=None)
        return screening

    async def _run(self, request: TrialRequest) -> tuple[TrialRecord, bool]:
        """One record, also if the runner itself gives up; then its error is raised on."""
        try:
            return await run_within(self._watch.left_s(), self._runner, request, self._spec)
        except asyncio.CancelledError:
            self._finish(ended_early(self._spec, request, "interrupted by the user"))
            raise
        except AutotuneError as error:
            self._finish(ended_early(self._spec, request, f"the study was ended: {error}"))
            raise

    def _screened(self, planned: Planned, failure: Failure, screening: Screening) -> TrialRecord:
        record = screened(
            self._spec,
            self._ask_tell.next_number(),
            planned,
            failure=failure,
            screening=screening,
            clock=self._clock,
        )
        record = replace(record, constraints=constraints_of(record, self._spec))
        self._store.append(record)
        self._ask_tell.add_finished(record)
        self._ended(record)
        return record

    def _finish(self, record: TrialRecord) -> None:
        """On disk first, then told."""
        record = replace(record, constraints=constraints_of(record, self._spec))
        self._store.append(record)
        self._ask_tell.tell(record, self._as_on_the_first_machine(record))
        self._ended(record)

    def _as_on_the_first_machine(self, record: TrialRecord) -> TrialRecord:
        """What a sampler learns, which is not told again when figures are corrected otherwise."""
        trials = [*self._records, record]
        return comparable(trials, self._spec.objectives, towards="first")[-1]

    def _ended(self, record: TrialRecord) -> None:
        self._records.append(kept(record))
        front = front_numbers(self._comparable(), self._spec.objectives)
        self._observer(
            TrialEnded(
                record=record,
                front=front,
                remaining_s=self._watch.remaining_s(self._records),
            )
        )

    def _announce(self, number: int, planned: Planned) -> None:
        self._observer(
            TrialStarted(
                number=number,
                kind=planned.kind,
                label=planned.label,
                configuration=planned.configuration,
                trials_done=sum(counts(record) for record in self._records),
                trials_total=self._spec.budget.trials,
            )
        )

    def _give_up_where_nothing_helps(self) -> None:
        """Judge by this run's trials: what stopped earlier ones may have been mended since."""
        made = self._records[self._resumed :]
        tried = [r for r in made if counts(r) or r.kind is TrialKind.RETRY]
        most = self._spec.budget.abort_after_failures
        if not any(map(served, self._records)):
            abort_if_nothing_works(tried, most, self._store.paths)
        abort_if_the_host_fails(tried, most)


def _planned(configuration: Configuration | None, kind: TrialKind) -> Planned | None:
    return None if configuration is None else Planned(configuration=configuration, kind=kind)
