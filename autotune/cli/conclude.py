"""What a study has come to: front, recommendation, success criteria, files that can be started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from autotune.analysis.passed_over import PassedOver
from autotune.analysis.recommend import Recommendation, SettingReason
from autotune.analysis.unjudged import nothing_feasible
from autotune.cli.json_lines import record_as_json, result_line
from autotune.cli.warnings import warn
from autotune.errors import NothingFeasibleError, StoreError, UsageError
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, TrialKind, TrialRecord
from autotune.report.exports.folder import Written, write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.report.findings import Findings
from autotune.report.inputs import cautions, stored_findings
from autotune.report.quantities import readable
from autotune.report.summary import comparison_of, front_of, trials_of
from autotune.report.table import Table, to_rich
from autotune.report.tables import criteria_table, settings_table
from autotune.report.untrusted import one_line
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import Preference, StudySpec
from autotune.store import read_resolution

_LAUNCH = TypeAdapter(LaunchPlan)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a study has come to.

    Attributes:
        warnings: What the user should know, a line each: damaged records, fragile settings.
        written: The recommendation as files; None where nothing was to be written.
        reason: Why the study ended, one line.
    """

    findings: Findings
    warnings: tuple[str, ...] = ()
    written: Written | None = None
    reason: str = ""

    @property
    def recommendation(self) -> Recommendation | None:
        """None if no trial is feasible."""
        return self.findings.recommendation

    def tables(self) -> tuple[Table, ...]:
        """Trials, front, settings, comparison with the baseline, criteria."""
        found = self.findings
        chosen, simulated = found.recommendation, found.simulated
        trials = trials_of(found, brief=True)
        if chosen is None:
            return (trials,)
        settings = settings_table(chosen, simulated=simulated)
        tables = [trials, front_of(found, brief=True), settings]
        compared = comparison_of(found, tuple(chosen.record.metrics), with_intervals=False)
        if compared is not None:
            tables.append(compared)
        return (*tables, criteria_table(found.criteria, simulated=simulated))

    def print(self, console: Console) -> None:
        """All of it for people."""
        for table in self.tables():
            console.print(to_rich(table))
            console.print()
        if self.recommendation is not None:
            number = self.recommendation.record.number
            console.print(f"recommended: trial {number}. {readable(self.recommendation.reason)}",
                          markup=False, style="bold")  # fmt: skip
        warn(console, self.warnings)
        for line in self._files():
            console.print(line, markup=False, soft_wrap=True)
        if self.reason:
            console.print(f"ended: {self.reason}", markup=False)

    def _files(self) -> tuple[str, ...]:
        if self.written is None:
            return ()
        return (*(f"written: {path}" for path in self.written.files), *self.written.notes)

    def as_json(self, more: Mapping[str, object] | None = None) -> str:
        """One JSON object, event "result"; `more` are fields that a command adds."""
        chosen, found = self.recommendation, self.findings
        values = {
            "study": found.spec.name,
            "simulated": found.simulated,
            "reason": self.reason,
            "trials": len(found.records),
            "front": list(found.front),
            "prefer": None if chosen is None else chosen.prefer,
            "recommended": None if chosen is None else record_as_json(chosen.record),
            "keep_default": None if chosen is None else chosen.keep_default,
            "why": "" if chosen is None else chosen.reason,
            "passed_over": [] if chosen is None else list(map(_passed_as_json, chosen.passed)),
            "settings": [] if chosen is None else list(map(_setting_as_json, chosen.settings)),
            "baseline_repaired": {} if chosen is None else dict(chosen.repaired),
            "criteria": {c.name: c.verdict.value for c in found.criteria},
            "corrections": list(map(str, found.corrections)),
            "warnings": list(self.warnings),
            "files": [] if self.written is None else list(map(str, self.written.files)),
            "notes": [] if self.written is None else list(self.written.notes),
        }
        return result_line({**values, **(more or {})})

    def require_feasible(self) -> None:
        """Turn an empty result into an exit code.

        Raises:
            NothingFeasibleError: If there is nothing to recommend.
            NothingJudgedError: If no trial ran to its end.
        """
        name, records = self.findings.spec.name, self.findings.records
        if records and all(r.kind is TrialKind.MATRIX for r in records):
            message = f"{name!r} is a matrix: its cells are compared, none is chosen"
            hint = "`autotune study` searches and recommends; the matrix's table is beside it."
            raise NothingFeasibleError(message, hint=hint)
        if self.recommendation is None:
            raise nothing_feasible(name, records)


def _passed_as_json(passed: PassedOver) -> dict[str, object]:
    return {"trial": passed.number, "rule": passed.rule.value, "why": passed.text}


def _setting_as_json(setting: SettingReason) -> dict[str, object]:
    """One setting of the recommendation with its reason, in the words of every other output."""
    return {
        "parameter": setting.parameter,
        "value": setting.value,
        "default": setting.default,
        "basis": setting.basis,
        "why": setting.text,
    }


def summarise(
    spec: StudySpec,
    paths: StudyPaths,
    records: Sequence[TrialRecord],
    *,
    reason: str = "",
    prefer: Preference | None = None,
    damaged: Sequence[str] = (),
) -> Summary:
    """Choose and judge; writes nothing.

    Args:
        spec: As resolved.
        paths: The study's files.
        records: Every trial.
        reason: Why the study ended.
        prefer: Another preference than the one that is stored, or the study's.
        damaged: Records that could not be read, a line each.
    """
    found = stored_findings(paths, spec, records, prefer=prefer, with_importances=False)
    concerning = (
        () if found.chosen is None
        else read_resolution(paths).concerning(found.chosen.configuration)
    )  # fmt: skip
    warnings = (*damaged, *concerning, *cautions(found))
    return Summary(findings=found, warnings=warnings, reason=reason)


def conclude(
    spec: StudySpec,
    paths: StudyPaths,
    records: Sequence[TrialRecord],
    *,
    reason: str = "",
    prefer: Preference | None = None,
    damaged: Sequence[str] = (),
    force: bool = False,
) -> Summary:
    """Choose, judge, and write the recommendation.

    Where the command cannot be exported, or what it was is lost, a warning stands in for files.

    Args:
        spec: As resolved.
        paths: Where the recommendation goes.
        records: Every trial.
        reason: Why the study ended.
        prefer: Another preference than the one that is stored, or the study's.
        damaged: Records that could not be read, a line each.
        force: Replace exported files even where the user changed them.

    Raises:
        StoreError: If the folder cannot be written.
    """
    summary = summarise(spec, paths, records, reason=reason, prefer=prefer, damaged=damaged)
    chosen = summary.recommendation
    if chosen is None:
        return summary
    try:
        service = service_of(spec, paths, chosen.record, chosen)
    except (UsageError, StoreError) as error:  # what was found is worth more than its files
        warning = f"the recommendation has no files: {error}"
        return replace(summary, warnings=(*summary.warnings, warning))
    release = chosen.record.environment.get("engine_release")
    written = write_recommendation(paths.recommended, service, release=release, force=force)
    return replace(summary, written=written)


def service_of(
    spec: StudySpec,
    paths: StudyPaths,
    record: TrialRecord,
    recommendation: Recommendation | None = None,
) -> Service:
    """The ordinary service that a trial becomes.

    Args:
        spec: As resolved.
        paths: The study's files.
        record: The trial.
        recommendation: Gives the reason of each setting, if it fell on this trial.

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
    is_its_own = recommendation is not None and recommendation.record.number == record.number
    settings = recommendation.settings if recommendation is not None and is_its_own else ()
    return service_from(
        record,
        launch,
        spec,
        reasons={setting.parameter: setting.text for setting in settings},
        warnings=warnings_of(paths, record),
    )


def warnings_of(paths: StudyPaths, record: TrialRecord) -> tuple[str, ...]:
    """What whoever serves a trial should know: why it is no choice, what is fragile in it."""
    found = []
    failure = record.outcome.failure
    if failure is not None:
        found.append(
            f"trial {record.number} is no recommendation: it was {record.outcome.status.value} "
            f"({failure.kind.value.replace('_', ' ')}: {one_line(failure.message)})"
        )
    return (*found, *read_resolution(paths).concerning(record.configuration))


def exported_path(paths: StudyPaths, record: TrialRecord, *, recommended: bool) -> Path:
    """Folder that a trial is exported to."""
    return paths.recommended if recommended else paths.trial(record.number).root / "export"
