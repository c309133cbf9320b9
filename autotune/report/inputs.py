"""What a report is made of: findings, logs, telemetry, and the commands that go with them."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.evidence import read_log_tail, read_telemetry
from autotune.report.findings import Findings, findings_of
from autotune.report.table import Table
from autotune.seams.telemetry import Sample
from autotune.spec.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a page is made of.

    Attributes:
        log_tail: Trial number and most characters to the end of its log.
        telemetry: Of the recommended trial.
        matrix: The matrix table, where one was measured.
        serve: Command that serves the recommendation.
        reproduce: Command that runs the study again.
        written: When, for the page's foot; empty leaves it out.
    """

    findings: Findings
    log_tail: Callable[[int, int], str] = lambda _number, _characters: ""
    telemetry: Sequence[Sample] = ()
    matrix: Table | None = None
    serve: str = ""
    reproduce: str = ""
    written: str = ""


def gather(
    paths: StudyPaths,
    spec: StudySpec,
    records: Sequence[TrialRecord],
    *,
    matrix: Table | None = None,
    written: str = "",
) -> ReportInputs:
    """Analyse a study and read what its page needs from the trials' folders."""
    findings = findings_of(spec, records)
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
        serve=serve_command(paths, simulated=findings.simulated) if chosen is not None else "",
        reproduce=reproduce_command(paths, spec),
        written=written,
    )


def serve_command(paths: StudyPaths, *, simulated: bool) -> str:
    """The command that serves what lies in `recommended/`; empty for a simulated study."""
    if simulated:
        return ""
    file = paths.recommended / "docker-compose.yml"
    shown = _relative(file)
    return f"docker compose -f {shlex.quote(shown)} up -d"


def reproduce_command(paths: StudyPaths, spec: StudySpec) -> str:
    """The command that runs the same study under another name."""
    trials = spec.budget.trials
    again = f"{spec.name}-again"
    return shlex.join([
        "autotune", "study", _relative(paths.spec), "--name", again,
        "--trials", str(trials), "--seed", str(spec.seed),
    ])  # fmt: skip


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
