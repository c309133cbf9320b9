"""Which parameters decide an objective: permutation importance of a forest over feasible trials.

A random forest is fitted to the logarithm of the objective; a parameter's importance is the squared
error that its trees gain, over the trials they have not seen, when its column is shuffled
(Breiman 2001, section 10), the shares made to sum to one. Conditions need no care: an inactive
parameter has the value `default`. Out-of-bag R2 says whether the forest knows anything; if not, no
importance is claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotune.analysis.forest import codes_of, grow, known_share, losses
from autotune.analysis.pairs import value_of
from autotune.analysis.pareto import FloatArray
from autotune.records import Scalar, TrialRecord
from autotune.spec.space import DEFAULT
from autotune.spec.study import Objective

MIN_TRIALS: Final = 12
"""Feasible trials under which no importance is given."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Share of an objective's explained variation that a parameter carries.

    Attributes:
        share: Sums to 1 over the parameters of an objective.
    """

    metric: str
    parameter: str
    share: float


def importances(
    records: Sequence[TrialRecord], objective: Objective, parameters: Sequence[str]
) -> tuple[Importance, ...]:
    """Importances of an objective, the greatest first; empty if too little is known."""
    rows, targets = [], []
    for record in records:
        value = record.metrics.get(objective.metric)
        if record.is_feasible and value is not None and value > 0:
            rows.append([value_of(record, name) for name in parameters])
            targets.append(np.log(value))
    varied = [i for i in range(len(parameters)) if len({row[i] for row in rows}) > 1]
    if len(rows) < MIN_TRIALS or not varied or np.ptp(targets) == 0:
        return ()
    columns = [_encode([row[i] for row in rows]) for i in varied]
    shares = _shares(np.column_stack(columns), np.asarray(targets))
    found = [
        Importance(metric=objective.metric, parameter=parameters[i], share=float(share))
        for i, share in zip(varied, shares, strict=len(shares) > 0)
    ]
    return tuple(sorted(found, key=lambda item: (-item.share, item.parameter)))


def _encode(values: Sequence[Scalar]) -> FloatArray:
    """Numbers as they are, `default` below them all; anything else by rank of its text."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if numbers and all(v == DEFAULT or v in numbers for v in values):
        below = min(numbers) - 1
        return np.asarray([below if v == DEFAULT else float(v) for v in values])
    ranks = {text: float(i) for i, text in enumerate(sorted({str(v) for v in values}))}
    return np.asarray([ranks[str(v)] for v in values])


def _shares(features: FloatArray, targets: FloatArray) -> FloatArray:
    """Shares of the columns; empty if the forest knows nothing."""
    random = np.random.default_rng(0)
    codes = codes_of(features)
    forest = grow(codes, targets, random)
    if known_share(forest, codes, targets) <= 0:
        return np.zeros(0)
    raw = np.clip(losses(forest, codes, targets, random), 0.0, None)
    return np.asarray(raw / raw.sum()) if raw.sum() > 0 else np.zeros(0)
