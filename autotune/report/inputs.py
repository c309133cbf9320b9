"""What a report is made of: findings, logs, telemetry, and the commands that go with them."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autotune.analysis.ablation import untested_notice
from autotune.paths import StudyPaths
from autotune.records import TrialKind, TrialRecord
from autotune.report.alone import nothing_else_ran
from autotune.report.evidence import read_log_tail, read_telemetry
from autotune.report.exports.folder import latest
from autotune.report.findings import Findings, findings_of
from autotune.report.table import Table
from autotune.seams.telemetry import Sample
from autotune.spec.study import Preference, StudySpec
from autotune.store import Resolution, TrialStore, read_preference, read_resolution


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a page is made of.

    Attributes:
        log_tail: Trial number and most characters to the end of its log.
        telemetry: Of the recommended trial.
        matrix: The matrix table, where one was measured.
        serve: Command that serves the recommendation.
        reproduce: Command that runs the study again.
        resolution: What was taken out of the declared space, and what is fragile in it.
        damaged: Records that could not be read, a line each.
        written: When, for the page's foot; empty leaves it out.
    """

    findings: Findings
    log_tail: Callable[[int, int], str] = lambda _number, _characters: ""
    telemetry: Sequence[Sample] = ()
    matrix: Table | None = None
    serve: str = ""
    reproduce: str = ""
    written: str = ""
    resolution: Resolution = field(default_factory=Resolution)
    damaged: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What concerns the recommended configuration, and what could not be read."""
        chosen = self.findings.chosen
        if chosen is None:
            return (*self.damaged, *self.resolution.warnings)
        concerning = self.resolution.concerning(chosen.configuration)
        return (*self.damaged, *concerning, *cautions(self.findings))


def cautions(findings: Findings) -> tuple[str, ...]:
    """What limits an answer: settings not tested one less, nothing but the default that ran."""
    chosen = findings.recommendation
    is_changed = chosen is not None and not chosen.keep_default
    untested = untested_notice(findings.spec) if is_changed else ""
    return tuple(text for text in (untested, nothing_else_ran(findings)) if text)


def stored_findings(
    paths: StudyPaths,
    spec: StudySpec,
    records: Sequence[TrialRecord],
    *,
    prefer: Preference | None = None,
    with_importances: bool = True,
) -> Findings:
    """Analyse a study by the preference that was chosen for it.

    Args:
        paths: The study's files; one of them may hold a preference.
        spec: As resolved.
        records: Every trial.
        prefer: Another preference than that.
        with_importances: A forest per objective; whoever does not show them leaves them out.

    Raises:
        StoreError: If the preference cannot be read.
    """
    prefer = prefer or read_preference(paths)
    return findings_of(spec, records, prefer=prefer, with_importances=with_importances)


def gather(
    paths: StudyPaths,
    spec: StudySpec,
    records: Sequence[TrialRecord],
    *,
    matrix: Table | None = None,
    written: str = "",
    damaged: Sequence[str] | None = None,
) -> ReportInputs:
    """Analyse a study and read what its page needs from the trials' folders.

    Args:
        paths: The study's files.
        spec: As resolved.
        records: Every trial.
        matrix: The matrix table, where one was measured.
        written: Date for the page's foot.
        damaged: Records that could not be read, a line each; None: those that were set aside.
    """
    findings = stored_findings(paths, spec, records)
    if damaged is None:
        damaged = [f"a damaged record was set aside: {path}"
                   for path in TrialStore(paths).set_aside()]  # fmt: skip
    chosen = findings.chosen
    telemetry: Sequence[Sample] = ()
    if chosen is not None:
        telemetry = read_telemetry(paths.trial(chosen.number).telemetry)

    def log_tail(number: int, characters: int) -> str:
        return read_log_tail(paths.trial(number).log, lines=60, characters=characters)

    return ReportInputs(
        findings=findings,
        log_tail=log_tail,
        telemetry=telemetry,
        matrix=matrix,
        serve="" if chosen is None or findings.simulated else serve_command(paths, spec),
        reproduce=reproduce_command(paths, spec, records),
        written=written,
        resolution=read_resolution(paths),
        damaged=tuple(damaged),
    )


def serve_command(paths: StudyPaths, spec: StudySpec) -> str:
    """The command that serves what was recommended, as the study itself ran it."""
    folder = latest(paths.recommended)
    if spec.engine.deployer == "process":
        return shlex.join(["sh", _relative(folder / "serve.sh")])
    compose = _relative(folder / "docker-compose.yml")
    return shlex.join(["docker", "compose", "-f", compose, "up", "-d"])


def reproduce_command(
    paths: StudyPaths, spec: StudySpec, records: Sequence[TrialRecord] = ()
) -> str:
    """The command that runs the same study under another name; empty for a matrix.

    The study's own file names what was taken from earlier studies.
    """
    if any(record.kind is TrialKind.MATRIX for record in records):
        return ""
    trials = spec.budget.trials
    again = f"{spec.name}-again"
    return shlex.join([
        "autotune", "study", _relative(paths.spec), "--name", again,
        "--trials", str(trials), "--seed", str(spec.seed), "--fresh",
    ])  # fmt: skip


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
