"""`autotune compare`: two trials, or what two studies recommend, side by side."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import typer
from rich.console import Console

from autotune.analysis.comparable import comparable
from autotune.analysis.costs import is_later_start, is_startup
from autotune.analysis.effects import percent
from autotune.analysis.measurements import logs_of, over_repeats, repeats_of
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.analysis.recommend import differences, recommend
from autotune.analysis.renamed import asked_for
from autotune.cli.json_lines import record_as_json, result_line
from autotune.cli.loads import loads_apart
from autotune.cli.options import JsonOption, names_like
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.warnings import warn
from autotune.errors import UsageError
from autotune.metrics import METRICS
from autotune.records import TrialRecord
from autotune.report.quantities import DASH, change, display, title
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.report.tables import any_simulated
from autotune.spec.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of both.

    Attributes:
        name: As it was asked for.
        record: The trial, or the one that stands for a recommendation.
        trials: What its figures are means over: the proofs of a recommendation, or the trial.
        records: Every trial of its study, made comparable; their repeats tell the noise.
        load: Its study's.
        damaged: Its records that cannot be used, a line each.
    """

    name: str
    record: TrialRecord
    trials: tuple[TrialRecord, ...]
    records: tuple[TrialRecord, ...]
    load: Workload = field(default_factory=Workload)
    damaged: tuple[str, ...] = ()

    def behind(self, tag: str) -> tuple[TrialRecord, ...]:
        """Trials that a metric is the mean of; of the start-up the record's alone.

        A first start and a later one are not alike, and repeats hold both.
        """
        metric = METRICS.get(tag)
        return (self.record,) if metric is not None and is_startup(metric) else self.trials

    def figure(self, tag: str) -> float | None:
        """Raw; None if it was not measured."""
        return over_repeats(self.behind(tag), self.record, tag)


def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="STUDY (its recommendation) or STUDY:TRIAL.", autocompletion=names_like
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            help="The same; or a trial of STUDY, where a third argument follows.",
            autocompletion=names_like,
        ),
    ],
    third: Annotated[str, typer.Argument(help="Another trial of STUDY.")] = "",
    *,
    json: JsonOption = False,
) -> None:
    """Compare settings and metrics of two trials, and say which differences exceed the noise.

    A recommendation's figures are means over its proofs. Speeds of a study that was measured on
    two machines are given as on one of them.

    Example: autotune compare default 0 17
    """
    sides = (first, second)
    if third:
        sides = (_numbered(first, second), _numbered(first, third))
    one, other = map(_referred, sides)
    warn(Console(stderr=True), _damaged(one, other))
    if json:
        typer.echo(as_json(one, other))
        return
    console = Console(file=sys.stdout, highlight=False)
    for table in (settings(one, other), metrics(one, other)):
        console.print(to_rich(table))
        console.print()


def as_json(one: Side, other: Side) -> str:
    """One JSON object: both sides, where they differ, and every metric that both have, raw."""
    first, second = asked_for(one.record), asked_for(other.record)
    return result_line({
        "first": _side_as_json(one),
        "second": _side_as_json(other),
        "damaged": _damaged(one, other),
        "differences": {
            name: [first.get(name), second.get(name)] for name in differences(first, second)
        },
        "workload": {name: list(both) for name, both in loads_apart(one.load, other.load).items()},
        "metrics": [found for tag in one.record.metrics
                    if (found := _metric_as_json(tag, one, other)) is not None],
    })  # fmt: skip


def _damaged(one: Side, other: Side) -> list[str]:
    return list(dict.fromkeys((*one.damaged, *other.damaged)))


def _side_as_json(side: Side) -> dict[str, object]:
    return {
        "name": side.name,
        "trials": [record.number for record in side.trials],
        **record_as_json(side.record),
    }


def _metric_as_json(tag: str, one: Side, other: Side) -> dict[str, object] | None:
    """A metric of both; `is_difference` is null where the two must not be compared."""
    mine, theirs = one.figure(tag), other.figure(tag)
    if mine is None or theirs is None:
        return None
    interval, is_alike = interval_of(tag, one, other), _are_alike(tag, one, other)
    return {
        "metric": tag,
        "first": mine,
        "second": theirs,
        "ratio_interval": None if interval is None else list(interval),
        "is_difference": _is_clear(mine, theirs, interval) if is_alike else None,
    }


def _is_clear(mine: float, theirs: float, interval: tuple[float, float] | None) -> bool:
    """Whether two figures differ beyond the noise, as far as there is any."""
    return mine != theirs if interval is None else not interval[0] <= 1 <= interval[1]


def _numbered(study: str, number: str) -> str:
    if ":" in study or not number.isdecimal():
        wrong = study if ":" in study else number
        message = f"{wrong!r} is no {'study' if ':' in study else 'trial'}"
        raise UsageError(message, hint="Three arguments are a study and two of its trials: "
                                       "default 0 17.")  # fmt: skip
    return f"{study}:{number}"


def _referred(text: str) -> Side:
    name, colon, number = text.partition(":")
    study = stored_study(name)
    if not colon:
        return replace(_recommended(study), damaged=study.damaged)
    if not number.isdecimal():
        message = f"{text!r} names no trial"
        raise UsageError(message, hint="Write it like default:7, or default for its answer.")
    wanted = study.trial(int(number)).number
    records = comparable(study.records, study.spec.objectives)
    record = next(r for r in records if r.number == wanted)
    return Side(name=text, record=record, trials=(record,), records=records,
                load=study.spec.workload, damaged=study.damaged)  # fmt: skip


def _recommended(study: StoredStudy) -> Side:
    records = comparable(study.records, study.spec.objectives)
    record = recommend(records, study.spec, study.prefer).record
    trials = repeats_of(records, record)
    return Side(name=study.spec.name, record=record, trials=trials, records=records,
                load=study.spec.workload)  # fmt: skip


def settings(one: Side, other: Side) -> Table:
    """Where two configurations, as they were asked for, environments and loads differ."""
    first, second = asked_for(one.record), asked_for(other.record)
    mine, theirs = first.values, second.values
    rows = [
        (Cell.of(name), Cell.of(mine.get(name, "default")), Cell.of(theirs.get(name, "default")))
        for name in differences(first, second)
    ]
    here, there = one.record.environment, other.record.environment
    rows += [
        (Cell.of(key), Cell.of(here.get(key, DASH)), Cell.of(there.get(key, DASH)))
        for key in ("model", "engine_release", "image_digest", "gpu", "gpu_driver")
        if here.get(key) != there.get(key)
    ]
    notes: tuple[str, ...] = () if rows else ("The same settings on the same machine.",)
    unlike = loads_apart(one.load, other.load)
    if unlike:
        rows += [(Cell.of(f"workload.{name}"), Cell.of(mine), Cell.of(theirs))
                 for name, (mine, theirs) in unlike.items()]  # fmt: skip
        notes += ("They were asked for different loads: figures differ for that, too.",)
    return Table(
        title="Differences",
        columns=(
            Column(head="what"),
            Column(head=one.name, fold=True),
            Column(head=other.name, fold=True),
        ),
        rows=tuple(rows),
        notes=notes,
        simulated=any_simulated([one.record, other.record]),
    )


def metrics(one: Side, other: Side) -> Table:
    """Every metric that both have, with the change and whether it exceeds the noise."""
    rows = []
    for tag in one.record.metrics:
        mine, theirs = one.figure(tag), other.figure(tag)
        if mine is None or theirs is None:
            continue
        interval = interval_of(tag, one, other)
        clear = _is_clear(mine, theirs, interval)
        said = "the same" if mine == theirs else "yes" if clear else "within the noise"
        if not _are_alike(tag, one, other):
            clear, said = False, "not alike: a first start"
        rows.append(
            (
                Cell.of(title(tag)),
                Cell.of(display(tag, mine)),
                Cell.of(display(tag, theirs)),
                Cell.of(change(theirs, mine)),
                Cell.of(DASH if interval is None else _told(interval)),
                Cell.of(said, Tone.STRONG if clear else Tone.MUTED),
            )
        )
    return Table(
        title="Metrics",
        columns=(
            Column(head="metric"),
            Column(head=one.name, align="right"),
            Column(head=other.name, align="right"),
            Column(head="change", align="right"),
            Column(head="95% interval", align="right"),
            Column(head="a difference?"),
        ),
        rows=tuple(rows),
        notes=(*_means((one, other)),
               "The noise is that of each study's own repeats, or an assumed 3% without any."),
        simulated=any_simulated([one.record, other.record]),
    )  # fmt: skip


def _are_alike(tag: str, one: Side, other: Side) -> bool:
    """Whether a figure may be compared: of the start-up, that of two later starts alone."""
    metric = METRICS.get(tag)
    if metric is None or not is_startup(metric):
        return True
    return all(is_later_start(side.records, side.record) for side in (one, other))


def interval_of(tag: str, one: Side, other: Side) -> tuple[float, float] | None:
    """95% interval of the ratio of the second's mean to the first's; None where there is none.

    Each side's mean has the noise of its own study over the square root of its trials
    (`analysis/noise.py`).
    """
    logs = [logs_of(side.behind(tag), tag) for side in (one, other)]
    if not all(logs):
        return None
    variance = math.fsum(
        noise_of(side.records, tag).relative_sd ** 2 / len(values)
        for side, values in zip((one, other), logs, strict=True)
    )
    mine, theirs = (math.fsum(values) / len(values) for values in logs)
    reach = SIGNIFICANT * math.sqrt(variance)
    return math.exp(theirs - mine - reach), math.exp(theirs - mine + reach)


def _told(interval: tuple[float, float]) -> str:
    low, high = interval
    if low > 2 / 3 and high < 1.5:
        return f"{percent(low)} to {percent(high)}%"
    return f"x{low:.2f} to x{high:.2f}"


def _means(sides: Sequence[Side]) -> tuple[str, ...]:
    """Which trials a figure is the mean of, where it is one."""
    told = [
        f"of {side.name} over the trials {', '.join(str(r.number) for r in side.trials)}"
        for side in sides
        if len(side.trials) > 1
    ]
    return (f"Means {' and '.join(told)}; of the start-up, single trials.",) if told else ()
