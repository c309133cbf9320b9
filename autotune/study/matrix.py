"""The fixed matrix: one record per cell, whatever becomes of it; it goes on where it stopped."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
from autotune.seams.engine import Screening, Settled
from autotune.seams.events import Notice, Observer, TrialEnded, TrialStarted
from autotune.seams.trial import TrialRequest, TrialRunner
from autotune.spec.matrix import Cell
from autotune.spec.study import StudySpec
from autotune.store.records import TrialStore
from autotune.study.agenda import Planned, is_stopped
from autotune.study.outcomes import constraints_of
from autotune.study.reference_answers import reference_answers
from autotune.study.settled import left_out_of
from autotune.study.synthetic_records import ended_early, screened


async def run_matrix(
    cells: Mapping[str, Cell],
    spec: StudySpec,
    *,
    runner: TrialRunner,
    store: TrialStore,
    observer: Observer,
    clock: Clock,
    probes: Sequence[str] | None = None,
) -> dict[str, TrialRecord]:
    """Measure each cell that has no result yet.

    A cell of which this engine lacks every setting is recorded as screened with the reason. A
    cell of which something is left (MAX), or whose settings are the engine's default anyway,
    runs with that and says so in its notes. A cell with an image of its own is passed on whole.

    Args:
        cells: By name, in the table's order.
        spec: Model, engine, workload and limits of every cell.
        runner: Runs one cell.
        store: Where records go and come from.
        observer: Told of every start and end.
        clock: For labels.
        probes: Names of the probes to run; None for all of the study's.

    Returns:
        The record that stands for each cell.

    Raises:
        AutotuneError: What would stop every further cell too.
        CancelledError: After Ctrl-C, once the running cell is on disk.
    """
    matrix = _Matrix(spec, runner, store, observer, clock, probes)
    for done, (name, cell) in enumerate(cells.items()):
        if matrix.result(name, cell) is None:
            await matrix.measure(name, cell, done=done, total=len(cells))
    return {name: matrix.latest(name, cell) for name, cell in cells.items()}


class _Matrix:
    def __init__(  # noqa: PLR0917 - built in one place
        self,
        spec: StudySpec,
        runner: TrialRunner,
        store: TrialStore,
        observer: Observer,
        clock: Clock,
        probes: Sequence[str] | None,
    ) -> None:
        self._spec, self._runner, self._store = spec, runner, store
        self._observer, self._clock = observer, clock
        self._probes = None if probes is None else tuple(probes)
        self._records = list(store.read_all(mend=True).records)
        for path in store.set_aside():
            text = f"{path} is a damaged record; it was set aside and does not count"
            observer(Notice(text=text, level="warning"))

    def latest(self, name: str, cell: Cell) -> TrialRecord:
        """The last record of a cell."""
        return [r for r in self._records if self._is_of(r, name, cell)][-1]

    def result(self, name: str, cell: Cell) -> TrialRecord | None:
        """The record that makes a cell done: not failed, and with the probes now wanted."""
        wanted = set(self._spec.probes if self._probes is None else self._probes)
        for record in reversed(self._records):
            if not self._is_of(record, name, cell):
                continue
            if record.outcome.status is OutcomeStatus.FAILED:
                return None
            covered = wanted <= {probe.probe for probe in record.probes}
            return record if covered or not record.is_measured else None
        return None

    async def measure(self, name: str, cell: Cell, *, done: int, total: int) -> None:
        """Run a cell; once more if it failed through no fault of its own or was disturbed."""
        for attempt in range(self._spec.budget.retries + 1):
            record = await self._attempt(name, cell, done=done, total=total)
            is_failed = record.outcome.status is OutcomeStatus.FAILED
            if not is_failed and not record.is_disturbed:
                return
            if attempt < self._spec.budget.retries:
                what = "failed" if is_failed else "was disturbed"
                self._observer(Notice(text=f"{name} {what} and is run again", level="warning"))

    async def _attempt(self, name: str, cell: Cell, *, done: int, total: int) -> TrialRecord:
        settled = self._settle(cell)
        planned = Planned(
            configuration=settled.configuration,
            kind=TrialKind.MATRIX,
            label=name,
            left_out=left_out_of(settled),
        )
        number = self._store.next_number()
        refusal = self._refusal(cell, settled)
        screening = Screening(failure=refusal)
        if refusal is None and cell.image is None:
            screening = self._runner.screen(planned.configuration)
        if screening.failure is not None:
            asked = replace(planned, configuration=Configuration.of(cell.configuration))
            record = screened(
                self._spec,
                number,
                asked,
                failure=screening.failure,
                screening=screening,
                clock=self._clock,
            )
            return self._keep(record, settled, cell)
        self._announce(number, planned, done=done, total=total)
        return await self._run(self._request(number, planned, cell), settled, cell)

    def _request(self, number: int, planned: Planned, cell: Cell) -> TrialRequest:
        return TrialRequest(
            number=number,
            kind=TrialKind.MATRIX,
            configuration=planned.configuration,
            label=planned.label,
            left_out=dict(planned.left_out),
            probes=self._probes,
            baseline=reference_answers(self._records),
            image=cell.image,
        )

    async def _run(self, request: TrialRequest, settled: Settled, cell: Cell) -> TrialRecord:
        try:
            record = await self._runner.run(request)
        except asyncio.CancelledError:
            early = ended_early(self._spec, request, "interrupted by the user")
            self._keep(early, settled, cell)
            raise
        except AutotuneError as error:
            early = ended_early(self._spec, request, f"the matrix was ended: {error}")
            self._keep(early, settled, cell)
            raise
        record = self._keep(record, settled, cell)
        if is_stopped(record):
            raise asyncio.CancelledError
        return record

    def _keep(self, record: TrialRecord, settled: Settled, cell: Cell) -> TrialRecord:
        """Store a record with what the cell asked for and why some of it is not there."""
        notes = tuple(f"{name}: {reason}" for name, reason in settled.redundant.items())
        record = replace(
            record,
            constraints=constraints_of(record, self._spec),
            notes=(*record.notes, *notes),
            environment={**record.environment, **_asked(cell)},
        )
        self._store.append(record)
        self._records.append(record)
        self._observer(TrialEnded(record=record))
        return record

    def _settle(self, cell: Cell) -> Settled:
        asked = Configuration.of(cell.configuration)
        if cell.image is not None:  # another release: what this one lacks says nothing of it
            return Settled(configuration=asked)
        return self._runner.settle(asked)

    def _refusal(self, cell: Cell, settled: Settled) -> Failure | None:
        """Why a cell cannot be run: this engine lacks every setting of it."""
        if cell.reference or not cell.configuration:
            return None
        if settled.configuration.items or settled.redundant:
            return None
        reasons = "; ".join(f"{r.parameter}: {r.reason}" for r in settled.left_out)
        kind = FailureKind.UNSUPPORTED_COMBINATION
        return Failure(kind=kind, phase="screening", message=reasons)

    def _is_of(self, record: TrialRecord, name: str, cell: Cell) -> bool:
        return record.label == name and _asked(cell).items() <= record.environment.items()

    def _announce(self, number: int, planned: Planned, *, done: int, total: int) -> None:
        self._observer(
            TrialStarted(
                number=number,
                kind=TrialKind.MATRIX,
                label=planned.label,
                configuration=planned.configuration,
                trials_done=done,
                trials_total=total,
            )
        )


def _asked(cell: Cell) -> dict[str, str]:
    """What a cell asked for, kept with its record: a cell that was edited is measured again."""
    return {
        "cell": str(Configuration.of(cell.configuration)),
        "cell_image": cell.image or "",
    }
