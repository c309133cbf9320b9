"""`autotune calibrate`: fit a simulated card to trials of a real one."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console

from autotune.cli.json_lines import line_of
from autotune.cli.options import JsonOption, ModelOption
from autotune.cli.wiring import read_model_facts
from autotune.engines.simulated import calibrate as calibration
from autotune.engines.simulated.calibrate import Errors, Fit
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.effects import Effect, effects_of
from autotune.engines.simulated.fitting import Observation
from autotune.errors import UsageError
from autotune.load.formulas import measured_window
from autotune.paths import StudyPaths, results_root
from autotune.probes.throughput import load_metrics
from autotune.report.quantities import title
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.seams.requests import RequestRecord
from autotune.store import TrialStore, read_stored_study

LARGE_EFFECT: Final = 0.1
"""Effects smaller than this may be noise, whatever their sign."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What studies measured, ready to be fitted.

    Attributes:
        date: ISO 8601 day of the last trial.
        release: Of the engine.
    """

    observations: tuple[Observation, ...]
    date: str
    release: str


def calibrate(
    studies: Annotated[
        list[str], typer.Argument(help="Studies of real trials: names, or folders of them.")
    ],
    card: Annotated[
        str, typer.Option("--card", help="Simulated card to start from: a name or a file.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the calibrated card here.")
    ] = None,
    model: ModelOption = None,
    left_out: Annotated[
        float, typer.Option("--left-out", min=0.0, max=0.9, help="Share that is not fitted.")
    ] = 1 / 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which trials those are.")] = 0,
    *,
    json: JsonOption = False,
) -> None:
    """Fit a simulated card to real trials, and hold it against trials that it has not seen.

    Example: autotune calibrate default matrix --card h100 --out cards/h100.yaml
    """
    measured = measured_in([folder_of(study) for study in studies], model)
    start = card_named(card)
    fit = calibration.calibrate(
        measured.observations,
        start,
        date=measured.date,
        release=measured.release,
        held_out_share=left_out,
        seed=seed,
        play=calibration.player(load_figures),
    )
    effects = effects_of(fit.card, measured.observations, calibration.player(load_figures))
    if json:
        typer.echo(as_json(fit, effects))
    else:
        console = Console(file=sys.stdout, highlight=False)
        for table in (errors_table(fit), effects_table(effects)):
            console.print(to_rich(table))
            console.print()
    if out is not None:
        calibration.write_card(fit.card, out)
        typer.echo(f"written: {out}", err=json)


def load_figures(records: Sequence[RequestRecord]) -> dict[str, float | None]:
    """A load's metrics as the probe `throughput` makes them of a closed loop today."""
    window = measured_window(records, closed=True)
    return {} if window is None else load_metrics(records, window)


def folder_of(study: str) -> Path:
    """A study's folder: the one that is named, or that of a study under `studies/`.

    Raises:
        UsageError: If neither holds a study.
    """
    for folder in (Path(study), results_root() / study):
        if StudyPaths(folder).spec.is_file():
            return folder
    message = f"there is no study {study!r} here"
    raise UsageError(message, hint="Name a study under studies/, or a folder with study.yaml.")


def measured_in(folders: Iterable[Path], model: str | None = None) -> Measured:
    """What the trials in some folders measured.

    A study's model may be a folder beside the study's own, as it is where results are published.

    Args:
        folders: Of studies.
        model: Instead of theirs.

    Raises:
        UsageError: If none of them measured anything that can be fitted, or cards differ.
    """
    observations: list[Observation] = []
    environments: list[Mapping[str, str]] = []
    days: list[str] = []
    for folder in folders:
        spec, _ = read_stored_study(StudyPaths(folder))
        beside = folder.parent / spec.model
        name = model or (str(beside) if beside.is_dir() else spec.model)
        facts = read_model_facts(spec.model_copy(update={"model": name}))
        for record in TrialStore(StudyPaths(folder), spec.name).records():
            observation = calibration.observation_from(record, facts, spec.workload)
            if observation is not None:
                observations.append(observation)
                environments.append(record.environment)
                days.append(record.wall_start[:10])
    if not observations:
        message = "no trial there measured anything that a card can be fitted to"
        raise UsageError(message, hint="Simulated and failed trials do not count.")
    gpus = sorted({e.get("gpu", "unknown") for e in environments})
    releases = sorted({e.get("engine_release", "unknown") for e in environments})
    if len(gpus) > 1:
        message = f"these trials are of several cards: {', '.join(gpus)}"
        raise UsageError(message, hint="Calibrate each card with its own trials.")
    return Measured(
        observations=tuple(observations),
        date=max(days),
        release=", ".join(releases),
    )


def errors_table(fit: Fit) -> Table:
    """Median and 90th percentile of the relative error, on records left out and on the others."""
    rows = [
        (Cell.of(title(metric)), *_shares(fit.errors, metric), *_shares(fit.fitted_errors, metric))
        for metric in fit.fitted_errors
    ]
    notes = [f"left out: {', '.join(fit.left_out) or 'nothing'}"]
    if fit.rank_correlation is not None:
        notes.append(f"rank correlation of output tokens/s: {fit.rank_correlation:.2f}")
    if fit.unplayable:
        notes.append(f"refused by the simulated server: {', '.join(fit.unplayable)}")
    heads = ("left out: median", "90%", "worst", "fitted: median", "90%", "worst")
    return Table(
        title=f"Relative error of {fit.card.title}, calibrated",
        columns=(Column(head="metric"), *(Column(head=h, align="right") for h in heads)),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _shares(errors: Errors, metric: str) -> tuple[Cell, ...]:
    values = errors.get(metric, ())
    if not values:
        return tuple(Cell.of("") for _ in range(3))
    figures = (np.median(values), np.percentile(values, 90), max(values))
    return tuple(Cell.of(f"{figure:.1%}") for figure in figures)


def effects_table(effects: Sequence[Effect]) -> Table:
    """What single settings change, and whether the model gets the sign of large effects right."""
    rows = []
    for effect in effects:
        large = abs(effect.measured) > LARGE_EFFECT
        verdict = Cell.of("")
        if not effect.settings:
            verdict = Cell.of("the same server: noise", Tone.MUTED)
        elif large:
            right = effect.sign_is_right
            verdict = Cell.of("right" if right else "wrong", Tone.GOOD if right else Tone.BAD)
        if large or not effect.settings:
            rows.append(
                (
                    Cell.of(effect.name),
                    Cell.of(title(effect.metric)),
                    Cell.of(f"{effect.measured:+.1%}"),
                    Cell.of(f"{effect.predicted:+.1%}"),
                    verdict,
                )
            )
    return Table(
        title=f"Effects of single settings, where more than {LARGE_EFFECT:.0%} was measured",
        columns=(
            Column(head="configuration"),
            Column(head="metric"),
            Column(head="measured", align="right"),
            Column(head="predicted", align="right"),
            Column(head="sign"),
        ),
        rows=tuple(rows),
    )


def as_json(fit: Fit, effects: Sequence[Effect]) -> str:
    """One object: errors, rank correlation, effects, the card."""
    content = {
        "left_out": {"records": fit.left_out, **calibration.summary_of(fit.errors)},
        "fitted": calibration.summary_of(fit.fitted_errors),
        "rank_correlation": fit.rank_correlation,
        "unplayable": fit.unplayable,
        "effects": [
            {**asdict(effect), "sign_is_right": effect.sign_is_right} for effect in effects
        ],
        "card": fit.card.model_dump(mode="json"),
    }
    return line_of(content)
