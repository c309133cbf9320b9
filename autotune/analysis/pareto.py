"""The Pareto front: feasible trials that no other feasible trial beats in every objective.

`a` dominates `b` if it is at least as good in every objective and better in one.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.records import TrialRecord
from autotune.spec.study import Objective

FloatArray = NDArray[np.float64]


def objective_row(record: TrialRecord, objectives: Sequence[Objective]) -> list[float] | None:
    """Raw objective values; None if one was not measured or is not finite."""
    row = []
    for objective in objectives:
        value = record.metrics.get(objective.metric)
        if value is None or not math.isfinite(value):
            return None
        row.append(float(value))
    return row


def comparable(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[tuple[TrialRecord, ...], FloatArray]:
    """Feasible records with every objective, and their losses.

    Returns:
        The records, and an array (records, objectives) in which lower is better.
    """
    kept, rows = [], []
    for record in records:
        row = objective_row(record, objectives) if record.is_feasible else None
        if row is not None:
            kept.append(record)
            rows.append(row)
    return tuple(kept), losses_of(rows, objectives)


def losses_of(rows: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> FloatArray:
    """Rows of objectives as losses: (rows, objectives), lower is better."""
    signs = np.asarray([-1.0 if o.direction == "maximize" else 1.0 for o in objectives])
    losses = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * signs
    return np.asarray(losses)


def is_on_front(losses: FloatArray) -> NDArray[np.bool_]:
    """Which rows no other row dominates (lower is better); equal rows are all kept."""
    front = np.ones(len(losses), dtype=np.bool_)
    for index, row in enumerate(losses):
        no_worse = np.all(losses <= row, axis=1)
        better = np.any(losses < row, axis=1)
        front[index] = not np.any(no_worse & better)
    return front


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[TrialRecord, ...]:
    """The front, in the order of the trials' numbers."""
    kept, losses = comparable(records, objectives)
    front = is_on_front(losses)
    return tuple(record for record, on in zip(kept, front, strict=True) if on)
