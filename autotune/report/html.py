"""`autotune report`: one HTML page that holds everything it shows.

It asks the network for nothing (a content security policy forbids it), follows the reader's light
or dark setting, and reads on a phone. Text from elsewhere is escaped by the template; what the
script shows it sets as text.
"""

import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autotune import __version__
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, TrialRecord
from autotune.report import page
from autotune.report.failures import failure_groups, failure_table, outcome_map
from autotune.report.findings import Findings
from autotune.report.inputs import ReportInputs, gather
from autotune.report.markdown import report_markdown
from autotune.report.summary import cards, comparison_of, facts, front_of, trials_of
from autotune.report.table import SIMULATED, Table
from autotune.report.tables import criteria_table, removed_table, settings_table
from autotune.report.trial_details import as_script, details
from autotune.report.untrusted import one_line
from autotune.report.verdict import noise_notes, reason_text, remarks, verdict
from autotune.spec.study import StudySpec
from autotune.store.files import write_atomically

_SECTIONS: Final = (
    ("criteria", "Criteria"), ("recommended", "Recommended"), ("front", "Pareto front"),
    ("effects", "What mattered"), ("failures", "Failures"), ("time", "Time"),
    ("memory", "Memory"), ("matrix", "Matrix"), ("trials", "All trials"),
    ("environment", "Environment"),
)  # fmt: skip


def write_report(
    paths: StudyPaths,
    spec: StudySpec,
    records: Sequence[TrialRecord],
    *,
    matrix: Table | None = None,
    written: str = "",
    damaged: Sequence[str] | None = None,
) -> Path:
    """Analyse a study; write its page, and `report.md` beside it.

    File names of a simulated study say so.

    Args:
        paths: The study's files.
        spec: As resolved.
        records: Every trial.
        matrix: The matrix table, where one was measured.
        written: Date for the page's foot.
        damaged: Records that could not be read, a line each; None: those that were set aside.

    Returns:
        The page.

    Raises:
        StoreError: If it cannot be written.
    """
    inputs = gather(paths, spec, records, matrix=matrix, written=written, damaged=damaged)
    name = f"report.{SIMULATED}" if inputs.findings.simulated else "report"
    write_atomically(paths.root / f"{name}.md", report_markdown(inputs))
    write_atomically(paths.root / f"{name}.html", report_html(inputs))
    return paths.root / f"{name}.html"


def report_html(inputs: ReportInputs) -> str:
    """The page as text."""
    findings = inputs.findings
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {
        **_analysis(findings),
        **_trials(findings),
        "memory": page.memory_plots(findings, inputs.telemetry),
        "matrix": inputs.matrix,
        "warnings": inputs.warnings,
        "removed": removed_table(inputs.resolution.removed) if inputs.resolution.removed else None,
        "fragile": inputs.resolution.fragile,
        "serve": inputs.serve,
        "reproduce": inputs.reproduce,
        "written": inputs.written,
        "version": __version__,
        "style": Markup(_file("page.css") + _file("plot.css")),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": f"sha256-{digest}",
        "data": Markup(  # noqa: S704 - `as_script` leaves no `<` in it
            as_script(details(findings.records, findings.baseline, inputs.log_tail))
        ),
    }
    labels = {} if findings.front else {"front": "Objectives"}
    values["sections"] = [
        (key, labels.get(key, label)) for key, label in _SECTIONS if _is_there(key, values)
    ]
    return _environment().get_template("report.html.j2").render(values)


def _is_there(section: str, values: dict[str, Any]) -> bool:
    key = {"recommended": "settings", "front": "scatters", "time": "timeline"}.get(section, section)
    return bool(values.get(key))


def _analysis(findings: Findings) -> dict[str, Any]:
    """Verdict, recommendation, front, effects, failures, time."""
    spec, simulated = findings.spec, findings.simulated
    chosen = findings.recommendation
    groups = failure_groups(findings.records)
    return {
        "findings": findings,
        "spec": spec,
        "facts": facts(findings),
        "verdict": verdict(findings),
        "remarks": remarks(findings),
        "cards": cards(findings),
        "criteria": criteria_table(findings.criteria) if findings.criteria else None,
        "settings": None if chosen is None else settings_table(chosen),
        "recommendation_reason": "" if chosen is None else reason_text(chosen),
        "comparison": comparison_of(findings),
        "scatters": page.pareto_plots(findings),
        "front": front_of(findings),
        "effects": page.parameter_effects(findings),
        "importance_known": any(findings.importances.values()),
        "noise_notes": noise_notes(findings),
        "failures": failure_table(groups, simulated=simulated) if groups else None,
        "outcome_map": outcome_map(findings.records, findings.parameters),
        "statuses": [status.value for status in OutcomeStatus],
        "groups": page.group_times(findings.records),
        "phases": page.phase_times(findings.records),
        "timeline": page.timeline(findings.records),
    }  # fmt: skip


def _trials(findings: Findings) -> dict[str, Any]:
    """The table of all trials, and the environment."""
    records, objectives = findings.records, findings.spec.objectives
    chosen = findings.chosen
    counts = Counter(record.outcome.status.value for record in records)

    def metric(tag: str) -> Callable[[TrialRecord], str]:
        return lambda record: "" if (v := record.metrics.get(tag)) is None else repr(v)

    keys: dict[int, Callable[[TrialRecord], str]] = {0: lambda record: str(record.number)}
    keys |= {2 + index: metric(o.metric) for index, o in enumerate(objectives)}
    return {
        "records": records,
        "trials": trials_of(findings),
        "sort_keys": keys,
        "counts": [(s.value, counts[s.value]) for s in OutcomeStatus if counts[s.value]],
        "environment": page.environment_rows(records),
        "engine_command": "" if chosen is None else shlex.join(map(one_line, chosen.command)),
    }  # fmt: skip


def _file(name: str) -> str:
    return files("autotune.report").joinpath("templates", name).read_text(encoding="utf-8")


def _cleaned(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("autotune.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,  # whatever reaches the page, escape sequences do not
        trim_blocks=True,
        lstrip_blocks=True,
    )
