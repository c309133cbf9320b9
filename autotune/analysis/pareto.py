"""Pareto dominance: `a` dominates `b` if it is as good in every objective and better in one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.spec.study import Objective

FloatArray = NDArray[np.float64]


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
