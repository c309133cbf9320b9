"""Hypervolume: how much of the objective space a set of trials dominates.

Losses are divided by their reference before they are measured, so each objective counts alike
and the figure has no unit. moocore computes it (Fonseca, Paquete, Lopez-Ibanez 2006).
"""

from collections.abc import Sequence

import moocore
import numpy as np

from autotune.analysis.measurements import baseline_of
from autotune.analysis.pareto import FloatArray, comparable
from autotune.records import TrialRecord
from autotune.spec.study import Objective


def reference_point(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> FloatArray:
    """What counts as nothing gained.

    In each objective the worse of the worst feasible trial and the baseline, and a tenth of the
    range beyond it, so that the front's own ends count.

    Returns:
        Losses (lower is better), one per objective; NaN where nothing was measured.
    """
    _, losses = comparable(records, objectives)
    if not len(losses):
        return np.full(len(objectives), np.nan)
    baseline = baseline_of(records)
    if baseline is not None:
        _, more = comparable([baseline], objectives)
        losses = np.vstack([losses, more])
    worst, best = losses.max(axis=0), losses.min(axis=0)
    margin = 0.1 * np.where(worst > best, worst - best, np.abs(worst))
    return np.asarray(worst + margin)


def hypervolume(losses: FloatArray, reference: FloatArray) -> float:
    """Volume dominated by rows of losses under a reference point."""
    if not len(losses):
        return 0.0
    return float(moocore.hypervolume(losses, ref=reference))


def hypervolume_history(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[tuple[int, float], ...]:
    """Share of the final hypervolume after each trial that has one: (number, share)."""
    kept, losses = comparable(records, objectives)
    reference = reference_point(records, objectives)
    final = hypervolume(losses, reference)
    if final <= 0:
        return ()
    return tuple(
        (record.number, hypervolume(losses[: i + 1], reference) / final)
        for i, record in enumerate(kept)
    )
