"""The last words of a study: short, the verdict at the end; the long tables are in `show`.

recommended settings, each with its reason
what got worse
the success criteria
how it ended, remarks, the verdict in two sentences, how to start it, where the report is
"""

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from rich.console import Console

from autotune.analysis.criteria import Criterion, Verdict
from autotune.analysis.recommend import Recommendation, SettingReason
from autotune.cli.conclude import Summary
from autotune.cli.warnings import warn
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus
from autotune.report.findings import Findings
from autotune.report.inputs import serve_command
from autotune.report.quantities import readable, trials_text
from autotune.report.table import SIMULATED
from autotune.report.tables import criterion_figure, criterion_found, criterion_title
from autotune.report.untrusted import one_line
from autotune.report.verdict import remarks, verdict, worse_text

_WIDEST: Final = 100
"""Lines longer than this are hard to read, however wide the terminal."""

_ROOM: Final = 16
"""Lines for the settings; where they need more, reasons that fit no line are left to `show`."""

_SIGNS: Final = {
    Verdict.MET: ("✓", "green"),
    Verdict.NOT_MET: ("✗", "red"),
    Verdict.NOT_MEASURED: ("–", "bright_black"),  # noqa: RUF001 - the dash of the tables
}


def print_verdict(
    console: Console, summary: Summary, paths: StudyPaths, page: Path | None = None
) -> None:
    """What a study has come to, on one screen.

    Args:
        console: Where to write.
        summary: The study's end; its files are written already.
        paths: The study's.
        page: The report; None where none was written, and the command for it is told.
    """
    found = summary.findings
    width = min(console.width, _WIDEST)
    chosen = found.recommendation
    console.print()
    if chosen is not None:
        _print_settings(console, found, chosen, width)
        _print(console, _worse(chosen), width)
        _print_criteria(console, found.criteria, width)
    warn(console, summary.warnings)
    for note in () if summary.written is None else summary.written.notes:
        _print(console, note, width)
    _print(console, _counted(found, summary.reason), width, style="dim")
    _print(console, " ".join(remarks(found)), width)
    for sentence in verdict(found):
        _print(console, sentence, width, style="bold")
    if chosen is not None and found.simulated:
        _print(console, f"{SIMULATED}: measure it on a machine with a GPU before it serves.", width)
    elif summary.written is not None:  # without files there is nothing to start
        start = serve_command(paths, found.spec)
        console.print(f"start it: {start}", markup=False, soft_wrap=True)
    report = f"autotune report {paths.name}" if page is None else page
    console.print(f"report:   {report}", markup=False, soft_wrap=True)
    console.print(f"trials:   autotune show {paths.name}", markup=False, soft_wrap=True)


def _print(console: Console, text: str, width: int, *, style: str = "") -> None:
    for line in textwrap.wrap(one_line(text), width - 1, subsequent_indent="  "):
        console.print(line, markup=False, style=style)


def _print_settings(console: Console, found: Findings, chosen: Recommendation, width: int) -> None:
    changed = [s for s in chosen.settings if s.value != s.default]
    mark = f" ({SIMULATED})" if found.simulated else ""
    head = f"Recommended{mark}: trial {chosen.record.number}"
    rest = len(chosen.settings) - len(changed)
    if not changed:
        head += f", {chosen.default_name}"
    elif rest:
        verb = "setting is" if rest == 1 else "settings are"
        head += f"; {rest} more {verb} as in the default"
    console.print(head, markup=False, style="bold yellow" if found.simulated else "bold")
    told = [_setting(setting, width) for setting in changed]
    if sum(map(len, told)) > _ROOM:
        short = [lines if len(lines) == 1 else _setting(setting, width, brief=True)
                 for setting, lines in zip(changed, told, strict=True)]  # fmt: skip
        told = [*short, [f"  the reasons in full: autotune show {found.spec.name}"]]
    for line in chain.from_iterable(told):
        console.print(line, markup=False, soft_wrap=True)


def _setting(setting: SettingReason, width: int, *, brief: bool = False) -> list[str]:
    """Like `kv_cache_dtype = fp8 (default auto): without it ...`, whole: its interval is last."""
    text = readable(setting.brief if brief else setting.text)
    text = f"{_named(setting)}: {one_line(text)}"
    return textwrap.wrap(text, width - 1, subsequent_indent="      ")


def _named(setting: SettingReason) -> str:
    default = "" if setting.default is None else f" (default {setting.default})"
    return f"  {one_line(f'{setting.parameter} = {setting.value}{default}')}"


def _worse(chosen: Recommendation) -> str:
    """What a request feels that is worse beyond the noise."""
    if chosen.keep_default or chosen.baseline is None:
        return ""
    if not chosen.costs:
        return "Worse than the default beyond the noise: nothing that was measured."
    return f"Worse than the default beyond the noise: {worse_text(chosen)}."


def _print_criteria(console: Console, criteria: Sequence[Criterion], width: int) -> None:
    for criterion in criteria:
        sign, style = _SIGNS[criterion.verdict]
        text = f"{sign} {criterion_title(criterion)}: {criterion_found(criterion)}"
        _print(console, text + _asked(criterion), width, style=style)


def _asked(criterion: Criterion) -> str:
    """What the study wanted, where that is a figure."""
    if criterion.bound is None or criterion.name == "stability":
        return ""
    word = "over" if criterion.name == "throughput" else "at most"
    return f"; asked: {word} {criterion_figure(criterion, criterion.bound)}"


def _counted(found: Findings, reason: str) -> str:
    """How many trials there are, by outcome, and why no further one was run."""
    counts = Counter(record.outcome.status for record in found.records)
    told = ", ".join(f"{counts[s]} {s.value}" for s in OutcomeStatus if counts[s])
    ended = f"; ended: {reason}" if reason else ""
    return f"{found.spec.name}: {trials_text(len(found.records))} ({told}){ended}."
