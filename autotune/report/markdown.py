"""The report as Markdown: the page's sections without its plots."""

from typing import Final

from autotune.report.failures import failure_groups, failure_table
from autotune.report.findings import Findings
from autotune.report.inputs import ReportInputs
from autotune.report.page import environment_rows, group_times
from autotune.report.quantities import title
from autotune.report.summary import comparison_of, facts, front_of, trials_of
from autotune.report.table import (
    SIMULATED,
    Cell,
    Column,
    Table,
    escape_markdown,
    to_markdown,
)
from autotune.report.tables import criteria_table, removed_table, settings_table
from autotune.report.untrusted import one_line
from autotune.report.verdict import noise_notes, reason_text, remarks, verdict

_WARNING: Final = (
    f"**{SIMULATED}: no real engine was measured; every figure is the prediction of a model.**"
)


def report_markdown(inputs: ReportInputs) -> str:
    """The report as text; it reads as it is and renders on GitHub."""
    findings = inputs.findings
    parts = [_head(findings)]
    if inputs.warnings:
        parts.append("\n".join(f"> **Warning:** {escape_markdown(w)}  " for w in inputs.warnings))
    if inputs.serve:
        parts.append(_code(inputs.serve))
    parts += [to_markdown(table, level=2) for table in _tables(inputs)]
    parts.append(f"## Where and how it was measured\n\n{_environment(findings)}")
    if inputs.resolution.removed:
        removed = removed_table(inputs.resolution.removed, simulated=findings.simulated)
        parts.append(to_markdown(removed, level=2))
    if inputs.reproduce:
        parts.append(f"The same study again:\n\n{_code(inputs.reproduce)}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _head(findings: Findings) -> str:
    name = escape_markdown(findings.spec.name)
    lines = [f"# {name}: autotune report{f' ({SIMULATED})' if findings.simulated else ''}", ""]
    if findings.simulated:
        lines += [_WARNING, ""]
    lines += [" · ".join(escape_markdown(fact) for fact in facts(findings)), ""]
    first, second = verdict(findings)
    lines += [f"**{escape_markdown(first)}**", "", escape_markdown(second)]
    lines += ["", *(f"- {escape_markdown(remark)}" for remark in remarks(findings))]
    return "\n".join(lines)


def _tables(inputs: ReportInputs) -> list[Table]:
    findings = inputs.findings
    chosen, simulated = findings.recommendation, findings.simulated
    tables: list[Table | None] = []
    if chosen is not None:
        tables += [
            criteria_table(findings.criteria, simulated=simulated),
            _with_reason(settings_table(chosen, simulated=simulated), reason_text(chosen)),
            comparison_of(findings),
            front_of(findings),
            _importance_table(findings),
        ]  # fmt: skip
    groups = failure_groups(findings.records)
    if groups:
        tables.append(failure_table(groups, simulated=simulated))
    tables += [
        _time_table(findings),
        inputs.matrix,
        trials_of(findings),
    ]  # fmt: skip
    return [table for table in tables if table is not None]


def _with_reason(table: Table, reason: str) -> Table:
    return Table(title=table.title, columns=table.columns, rows=table.rows,
                 notes=(reason, *table.notes), simulated=table.simulated)  # fmt: skip


def _importance_table(findings: Findings) -> Table | None:
    """Share of each objective's variation that a parameter explains."""
    metrics = [metric for metric, items in findings.importances.items() if items]
    if not metrics:
        return None
    shares = {metric: {i.parameter: i.share for i in findings.importances[metric]}
              for metric in metrics}  # fmt: skip
    names = sorted(findings.parameters,
                   key=lambda n: -max(shares[m].get(n, 0.0) for m in metrics))  # fmt: skip
    return Table(
        title="What mattered",
        columns=(
            Column(head="parameter"),
            *(Column(head=title(metric), align="right") for metric in metrics),
        ),
        rows=tuple(
            (Cell.of(name), *(Cell.of(f"{shares[m].get(name, 0.0) * 100:.0f}%") for m in metrics))
            for name in names
        ),
        notes=(
            "Share of an objective's variation that a parameter explains.",
            *noise_notes(findings),
        ),
        simulated=findings.simulated,
    )


def _time_table(findings: Findings) -> Table:
    return Table(
        title="Where the GPU's time went",
        columns=(Column(head=""), Column(head="time", align="right"),
                 Column(head="share", align="right")),
        rows=tuple(
            (Cell.of(group.name), Cell.of(group.text), Cell.of(f"{group.share * 100:.0f}%"))
            for group in group_times(findings.records)
        ),
        simulated=findings.simulated,
    )  # fmt: skip


def _environment(findings: Findings) -> str:
    rows = environment_rows(findings.records)
    return "\n".join(f"- {escape_markdown(n)}: {escape_markdown(value)}" for n, value in rows)


def _code(command: str) -> str:
    return f"```sh\n{one_line(command).replace('```', '')}\n```"
