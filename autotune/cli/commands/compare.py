"""`autotune compare`: two trials, or what two studies recommend, side by side."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from autotune.analysis.effects import percent
from autotune.analysis.recommend import differences
from autotune.analysis.renamed import asked_for
from autotune.cli.json_lines import record_as_json, result_line
from autotune.cli.loads import loads_apart
from autotune.cli.options import JsonOption, names_like
from autotune.cli.sides import Side, are_alike, interval_of, is_clear, numbered, referred
from autotune.cli.warnings import warn
from autotune.report.quantities import DASH, ESTIMATE, change, display, title
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.report.tables import ESTIMATED, any_simulated, is_counted


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
        sides = (numbered(first, second), numbered(first, third))
    one, other = map(referred, sides)
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
    interval, is_alike = interval_of(tag, one, other), are_alike(tag, one, other)
    return {
        "metric": tag,
        "first": mine,
        "second": theirs,
        "ratio_interval": None if interval is None else list(interval),
        "is_difference": is_clear(mine, theirs, interval) if is_alike else None,
    }


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
        clear = is_clear(mine, theirs, interval)
        shown = None if is_counted(tag) else interval  # counted figures are not timed
        said = "the same" if mine == theirs else "yes" if clear else "within the noise"
        if not are_alike(tag, one, other):
            clear, said = False, "not alike: a first start"
        rows.append(
            (
                Cell.of(title(tag)),
                Cell.of(_figure(one, tag, mine)),
                Cell.of(_figure(other, tag, theirs)),
                Cell.of(change(theirs, mine)),
                Cell.of(DASH if shown is None else _told(shown)),
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
        notes=(*_means((one, other)), *_notes((one, other)), *_estimated((one, other)),
               "The noise is that of each study's own repeats, or an assumed 3% without any."),
        simulated=any_simulated([one.record, other.record]),
    )  # fmt: skip


def _figure(side: Side, tag: str, value: float) -> str:
    return f"{ESTIMATE if side.is_estimate(tag) else ''}{display(tag, value)}"


def _notes(sides: Sequence[Side]) -> list[str]:
    """Why figures are missing or not as measured."""
    return [f"{side.name}: {note}" for side in sides for note in side.notes]


def _estimated(sides: Sequence[Side]) -> tuple[str, ...]:
    """What the sign before a figure means, where one is shown."""
    shown = any(side.is_estimate(tag) for side in sides for tag in side.record.metrics)
    return (ESTIMATED,) if shown else ()


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
