"""`autotune compare A B`: two trials, or what two studies recommend, side by side."""

import math
import sys
from typing import Annotated

import typer
from rich.console import Console

from autotune.analysis.comparable import comparable
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.analysis.recommend import differences, recommend
from autotune.cli.stored import StoredStudy, stored_study
from autotune.errors import UsageError
from autotune.records import TrialRecord
from autotune.report.quantities import DASH, change, display, title
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.report.tables import any_simulated

_Reference = tuple[StoredStudy, TrialRecord]


def compare(
    first: Annotated[str, typer.Argument(help="STUDY (its recommendation) or STUDY:TRIAL.")],
    second: Annotated[str, typer.Argument(help="The same.")],
) -> None:
    """Compare settings and metrics of two trials, and say which differences exceed the noise.

    Example: autotune compare default:0 default:17
    """
    one, other = _referred(first), _referred(second)
    console = Console(file=sys.stdout, highlight=False)
    for table in (settings(first, one[1], second, other[1]), metrics(first, one, second, other)):
        console.print(to_rich(table))
        console.print()


def _referred(text: str) -> _Reference:
    name, colon, number = text.partition(":")
    study = stored_study(name)
    if not colon:
        records = comparable(study.records, study.spec.objectives)
        return study, study.trial(recommend(records, study.spec, study.prefer).record.number)
    if not number.isdecimal():
        message = f"{text!r} names no trial"
        raise UsageError(message, hint="Write it like default:7, or default for its answer.")
    return study, study.trial(int(number))


def settings(first: str, one: TrialRecord, second: str, other: TrialRecord) -> Table:
    """Where two configurations and environments differ."""
    mine, theirs = one.configuration.values, other.configuration.values
    rows = [
        (Cell.of(name), Cell.of(mine.get(name, "default")), Cell.of(theirs.get(name, "default")))
        for name in differences(one.configuration, other.configuration)
    ]
    rows += [
        (Cell.of(key), Cell.of(one.environment.get(key, DASH)),
         Cell.of(other.environment.get(key, DASH)))
        for key in ("model", "engine_release", "image_digest", "gpu", "gpu_driver")
        if one.environment.get(key) != other.environment.get(key)
    ]  # fmt: skip
    return Table(
        title="Differences",
        columns=(
            Column(head="what"),
            Column(head=first, fold=True),
            Column(head=second, fold=True),
        ),
        rows=tuple(rows),
        notes=() if rows else ("The same settings on the same machine.",),
        simulated=any_simulated([one, other]),
    )


def metrics(first: str, one: _Reference, second: str, other: _Reference) -> Table:
    """Every metric that both have, with the change and whether it exceeds the noise."""
    mine, theirs = one[1].metrics, other[1].metrics
    rows = []
    for tag, value in mine.items():
        against = theirs.get(tag)
        if value is None or against is None:
            continue
        clear = exceeds_noise(tag, one, other)
        rows.append(
            (
                Cell.of(title(tag)),
                Cell.of(display(tag, value)),
                Cell.of(display(tag, against)),
                Cell.of(change(against, value)),
                Cell.of(
                    "yes" if clear else "within the noise", Tone.STRONG if clear else Tone.MUTED
                ),
            )
        )
    return Table(
        title="Metrics",
        columns=(
            Column(head="metric"),
            Column(head=first, align="right"),
            Column(head=second, align="right"),
            Column(head="change", align="right"),
            Column(head="a difference?"),
        ),
        rows=tuple(rows),
        notes=("The noise is that of each study's own repeats, or an assumed 3% without any.",),
        simulated=any_simulated([one[1], other[1]]),
    )


def exceeds_noise(tag: str, one: _Reference, other: _Reference) -> bool:
    """Whether two single measurements differ by more than two standard errors."""
    mine, theirs = one[1].metrics.get(tag), other[1].metrics.get(tag)
    if mine is None or theirs is None or mine <= 0 or theirs <= 0:
        return mine != theirs
    variance = sum(noise_of(study.records, tag).relative_sd ** 2 for study, _ in (one, other))
    return abs(math.log(mine / theirs)) > SIGNIFICANT * math.sqrt(variance)
