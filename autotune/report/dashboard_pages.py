"""What `autotune dashboard` shows of a trial and a study beside Optuna's own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from autotune.analysis.front import rounded
from autotune.paths import StudyPaths, TrialPaths
from autotune.records import OutcomeStatus, TrialRecord
from autotune.report.evidence import read_telemetry
from autotune.report.findings import Findings
from autotune.report.inputs import stored_findings
from autotune.report.page import memory_panels
from autotune.report.picture import plot_style
from autotune.report.quantities import display, heading, scale_for, title
from autotune.report.summary import front_of
from autotune.report.svg.canvas import Size
from autotune.report.svg.memory import memory_plot
from autotune.report.table import SIMULATED, escape_markdown, to_markdown
from autotune.report.tables import outcome_text
from autotune.report.trial_whole import metrics_table
from autotune.report.untrusted import clean
from autotune.report.verdict import noise_notes, remarks, verdict
from autotune.spec.study import Objective, StudySpec
from autotune.study.attributes import displayed
from autotune.study.dashboard import Attachment, Pages, StudyPage, TrialPage

_VALUES: Final = (
    "Objectives are the means over each configuration's trials; a trial's own page has its figures."
)
_GREY: Final = (
    "Grey points broke a limit and are infeasible, though every objective was measured. What ended "
    "before that is called pruned; its page says why."
)
_LOG_BYTES: Final = 4_000_000
"""Most of a log that is handed out; its end."""


def dashboard_pages(paths: StudyPaths, spec: StudySpec) -> Pages:
    """Draws from a study's records and folders."""
    return Pages(
        trial=lambda record: TrialPage(
            note=trial_note(record, spec.objectives), attachments=attachments(record, paths, spec)
        ),
        study=lambda records: study_page(
            stored_findings(paths, spec, records, with_importances=False)
        ),
        importances=lambda records: importances_of(stored_findings(paths, spec, records)),
        mark=SIMULATED if spec.engine.name == "simulated" else "",
    )


def trial_note(record: TrialRecord, objectives: Sequence[Objective]) -> str:
    """A trial in Markdown: outcome, objectives, why it failed, settings, every figure."""
    mark = f" ({SIMULATED})" if record.simulated else ""
    name = record.label or record.kind.value
    lines = [f"## Trial {record.number}, {escape_markdown(name)}{mark}", ""]
    lines += [f"**{escape_markdown(outcome_text(record.outcome))}**", ""]
    lines += [
        f"- {title(o.metric)}: {display(o.metric, record.metrics.get(o.metric))}"
        for o in objectives
    ]
    failure, settings = record.outcome.failure, record.configuration.values
    if failure is not None:
        lines += ["", escape_markdown(failure.message), ""]
        lines += [f"    {clean(line)}" for text in failure.evidence[:6]
                  for line in text.splitlines()[:20]]  # fmt: skip
        if failure.margin_gib is not None:
            lines += ["", f"Margin: {failure.margin_gib:+.2f} GiB"]
    lines += ["", "### Settings", ""]
    lines += [escape_markdown(f"{name}={value}") + "  " for name, value in settings.items()]
    lines += [] if settings else ["the engine's defaults"]
    return "\n".join(lines) + "\n\n" + to_markdown(metrics_table(record), level=3)


def attachments(record: TrialRecord, paths: StudyPaths, spec: StudySpec) -> tuple[Attachment, ...]:
    """Log, memory curves, launch and record of a trial, as far as they are there."""
    files = paths.trial(record.number)
    found = [
        Attachment(name=path.name, mimetype=mimetype, read=partial(_tail, path))
        for path, mimetype in (
            (files.log, "text/plain; charset=utf-8"),
            (files.launch, "application/json"),
            (files.record, "application/json"),
        )
        if path.is_file()
    ]
    if files.telemetry.is_file():
        found += [
            Attachment(name=name, mimetype="image/svg+xml",
                       read=partial(_memory, files, record, spec, index))
            for index, name in enumerate(("gpu-memory.svg", "host-memory.svg"))
        ]  # fmt: skip
    return tuple(found)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_BYTES))
        return file.read()


def _memory(files: TrialPaths, record: TrialRecord, spec: StudySpec, index: int) -> bytes:
    size = Size(width=880, height=300, style=plot_style())
    samples = read_telemetry(files.telemetry)
    panel = memory_panels(spec, samples)[index]
    drawn = memory_plot(samples, record.phases, panel, size, simulated=record.simulated)
    return drawn.encode()


def study_page(findings: Findings) -> StudyPage:
    """Verdict and front in Markdown, and the feasible front as a figure."""
    spec, records = findings.spec, findings.records
    first, second = verdict(findings)
    mark = f"**{SIMULATED}**: no real engine was measured.\n\n" if findings.simulated else ""
    note = f"{mark}**{escape_markdown(first)}**\n\n{escape_markdown(second)}\n"
    for text in (*remarks(findings), *noise_notes(findings)):
        note += f"\n{escape_markdown(text)}\n"
    if findings.chosen is not None:
        note += f"\n{_VALUES}\n\n" + to_markdown(front_of(findings))
    figures = {}
    if len(spec.objectives) >= 2 and any(r.is_feasible for r in records):
        figures["pareto-front"] = pareto_figure(findings)
    front = None if findings.chosen is None else findings.front
    infeasible = infeasible_values(findings)
    if infeasible or any(not record.is_feasible for record in records):
        note += f"\n\n{_GREY}\n"
    return StudyPage(
        note=note,
        figures=figures,
        front=front,
        values=shown_values(findings),
        infeasible=infeasible,
    )


def infeasible_values(findings: Findings) -> dict[int, tuple[float, ...]]:
    """Trial that broke a limit to its own objectives, where all of them were measured."""
    objectives = findings.spec.objectives
    broken = [r for r in findings.records if r.outcome.status is OutcomeStatus.INFEASIBLE]
    found = {}
    for record in broken:
        values = [record.metrics.get(o.metric) for o in objectives]
        known = [value for value in values if value is not None]
        if len(known) == len(objectives):
            found[record.number] = tuple(
                displayed(o.metric, rounded(o.metric, value))[1]
                for o, value in zip(objectives, known, strict=True)
            )
    return found


def shown_values(findings: Findings) -> dict[int, tuple[float, ...]]:
    """Feasible trial to the means of its configuration, as tables round them."""
    objectives = findings.spec.objectives
    found: dict[int, tuple[float, ...]] = {}
    for point in findings.points:
        values = tuple(
            displayed(o.metric, rounded(o.metric, value))[1]
            for o in objectives
            if (value := point.metrics.get(o.metric)) is not None
        )
        same = (r for r in findings.records if r.configuration == point.configuration)
        found |= {r.number: values for r in same if r.is_feasible}
    return found


def importances_of(findings: Findings) -> list[dict[str, float]]:
    """For each objective, parameter to its share: those of the report."""
    return [
        {item.parameter: item.share for item in findings.importances.get(o.metric, ())}
        for o in findings.spec.objectives
    ]


def pareto_figure(findings: Findings) -> str:
    """Means of each configuration in two objectives, the front marked, as plotly's JSON.

    A trial that broke a limit is grey, as optuna-dashboard has it.
    """
    import plotly.graph_objects as go  # noqa: PLC0415 - half a second that only this needs

    x, y = findings.spec.objectives[:2]
    front, repeats = findings.front, findings.repeats
    chosen = findings.standing(findings.chosen)
    groups: dict[str, list[TrialRecord]] = {
        "measured": [], "on the front": [], "recommended": [], "infeasible": [],
    }  # fmt: skip
    for record in findings.plotted:
        if record.outcome.status is OutcomeStatus.INFEASIBLE:
            groups["infeasible"].append(record)
        elif record.is_measured:
            best = chosen is not None and record.number == chosen.number
            name = "on the front" if record.number in front else "measured"
            groups["recommended" if best else name].append(record)
    mark = f" ({SIMULATED})" if findings.simulated else ""
    figure = go.Figure(layout={"title": {"text": f"Pareto front of feasible trials{mark}"}})
    scales = [scale_for(o.metric, (r.metrics.get(o.metric) for r in findings.plotted))
              for o in (x, y)]  # fmt: skip
    for name, members in groups.items():
        points = [(r, r.metrics.get(x.metric), r.metrics.get(y.metric)) for r in members]
        whole = [(r, a, b) for r, a, b in points if a is not None and b is not None]
        if name == "infeasible" and not whole:
            continue
        figure.add_trace(
            go.Scatter(
                x=[a / scales[0].divisor for _, a, _ in whole],
                y=[b / scales[1].divisor for _, _, b in whole],
                text=[f"trial {r.number}, mean of {repeats.get(r.number, 1)}" for r, _, _ in whole],
                mode="markers",
                marker={"color": "#bbbbbb"} if name == "infeasible" else {},
                name=name,
            )
        )
    figure.update_xaxes(title_text=heading(x.metric, scales[0]))
    figure.update_yaxes(title_text=heading(y.metric, scales[1]))
    return str(figure.to_json())
