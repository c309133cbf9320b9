"""The end of a study: front, recommendation, success criteria, files that can be started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from autotune.analysis.criteria import Criterion, success_criteria
from autotune.analysis.measurements import baseline_of
from autotune.analysis.recommend import Recommendation, recommend
from autotune.cli.json_lines import record_as_json
from autotune.errors import NothingFeasibleError, StoreError, UsageError
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, TrialKind, TrialRecord
from autotune.report.exports.service import Service, service_from
from autotune.report.exports.write import write_recommendation
from autotune.report.table import Table, to_rich
from autotune.report.tables import (
    any_simulated,
    comparison_table,
    criteria_table,
    front_table,
    settings_table,
    trials_table,
)
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import Preference, StudySpec

_LAUNCH = TypeAdapter(LaunchPlan)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a study has come to.

    Attributes:
        recommendation: None if no trial is feasible.
        files: The recommendation, written.
        reason: Why the study ended, one line.
    """

    spec: StudySpec
    paths: StudyPaths
    records: tuple[TrialRecord, ...]
    baseline: TrialRecord | None
    recommendation: Recommendation | None
    criteria: tuple[Criterion, ...] = ()
    files: tuple[Path, ...] = ()
    reason: str = ""

    def tables(self) -> tuple[Table, ...]:
        """Trials, front, settings, comparison with the baseline, criteria."""
        chosen = self.recommendation
        simulated = any_simulated(self.records)
        trials = trials_table(
            self.records,
            self.spec.objectives,
            front=() if chosen is None else chosen.front,
            recommended=None if chosen is None else chosen.record.number,
            baseline=self.baseline,
            brief=True,
        )
        if chosen is None:
            return (trials,)
        front = front_table(
            self.records,
            self.spec.objectives,
            front=chosen.front,
            recommended=chosen.record.number,
            baseline=self.baseline,
            brief=True,
        )
        tables = [trials, front, settings_table(chosen, simulated=simulated)]
        if self.baseline is not None:
            tags = tuple(chosen.record.metrics)
            tables.append(
                comparison_table(
                    tags, chosen.record.metrics, self.baseline.metrics, simulated=simulated
                )
            )
        return (*tables, criteria_table(self.criteria, simulated=simulated))

    def print(self, console: Console) -> None:
        """All of it for people."""
        for table in self.tables():
            console.print(to_rich(table))
            console.print()
        if self.recommendation is not None:
            number = self.recommendation.record.number
            console.print(f"recommended: trial {number}: {self.recommendation.reason}",
                          markup=False, style="bold")  # fmt: skip
        for path in self.files:
            console.print(f"written: {path}", markup=False, soft_wrap=True)
        if self.reason:
            console.print(f"ended: {self.reason}", markup=False)

    def as_json(self) -> str:
        """One JSON object, event "result"."""
        chosen = self.recommendation
        values = {
            "event": "result",
            "study": self.spec.name,
            "simulated": any_simulated(self.records),
            "reason": self.reason,
            "trials": len(self.records),
            "front": [] if chosen is None else list(chosen.front),
            "recommended": None if chosen is None else record_as_json(chosen.record),
            "keep_default": None if chosen is None else chosen.keep_default,
            "why": "" if chosen is None else chosen.reason,
            "criteria": {c.name: c.verdict.value for c in self.criteria},
            "files": [str(path) for path in self.files],
        }
        return orjson.dumps(values, default=str).decode()

    def require_feasible(self) -> None:
        """Turn an empty result into an exit code.

        Raises:
            NothingFeasibleError: If there is nothing to recommend.
        """
        if self.records and all(r.kind is TrialKind.MATRIX for r in self.records):
            message = f"{self.spec.name!r} is a matrix: its cells are compared, none is chosen"
            hint = "`autotune study` searches and recommends; the matrix's table is beside it."
            raise NothingFeasibleError(message, hint=hint)
        if self.recommendation is None:
            message = f"none of the {len(self.records)} trials of {self.spec.name!r} is feasible"
            hint = f"`autotune report {self.spec.name}` shows why each one failed."
            raise NothingFeasibleError(message, hint=hint)


def conclude(
    spec: StudySpec,
    paths: StudyPaths,
    records: Sequence[TrialRecord],
    *,
    reason: str = "",
    prefer: Preference | None = None,
) -> Summary:
    """Choose, judge, and write the recommendation.

    Args:
        spec: As resolved.
        paths: Where the recommendation goes.
        records: Every trial.
        reason: Why the study ended.
        prefer: Another preference than the study's; needs no new trial.

    Raises:
        StoreError: If the folder cannot be written.
    """
    baseline = baseline_of(records)
    try:
        chosen = recommend(records, spec, prefer)
    except NothingFeasibleError:
        return Summary(spec=spec, paths=paths, records=tuple(records), baseline=baseline,
                       recommendation=None, reason=reason)  # fmt: skip
    environment = chosen.record.environment
    criteria = success_criteria(
        records,
        spec,
        chosen.record,
        baseline,
        gpu_memory_bytes=_whole(environment.get("gpu_memory_bytes")),
        host_memory_bytes=_whole(environment.get("host_memory_bytes")),
    )
    service = service_of(spec, paths, chosen.record, chosen)
    files = write_recommendation(
        paths.recommended, service, release=environment.get("engine_release")
    )
    return Summary(
        spec=spec,
        paths=paths,
        records=tuple(records),
        baseline=baseline,
        recommendation=chosen,
        criteria=criteria,
        files=files,
        reason=reason,
    )


def service_of(
    spec: StudySpec,
    paths: StudyPaths,
    record: TrialRecord,
    recommendation: Recommendation | None = None,
) -> Service:
    """The ordinary service that a trial becomes.

    Raises:
        UsageError: If the trial was never started.
        StoreError: If what it was started with cannot be read.
    """
    path = paths.trial(record.number).launch
    if record.outcome.status is OutcomeStatus.SCREENED and not path.exists():
        message = f"trial {record.number} was never started, so there is no command to export"
        raise UsageError(message, hint=f"`autotune show {paths.name}` lists those that were.")
    try:
        launch = _LAUNCH.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        message = f"{path} cannot be read: {str(error).splitlines()[0]}"
        raise StoreError(message, hint="Without it that trial cannot be exported.") from error
    settings = () if recommendation is None else recommendation.settings
    return service_from(
        record, launch, spec, reasons={setting.parameter: setting.text for setting in settings}
    )


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) > 0 else None
