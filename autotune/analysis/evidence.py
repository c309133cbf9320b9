"""What the records of a search hint at: the gain of each setting, by a linear model of the score.

Score of a configuration = sum over its settings + noise, with a normal prior on each setting's
part (Bayesian linear regression; Bishop, Pattern Recognition and Machine Learning, section 3.3).
It ranks what to take away first; whether it may go is measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotune.analysis.measurements import Measured
from autotune.analysis.pairs import in_effect
from autotune.records import Scalar, TrialRecord

_PRIOR_SD: Final = 0.3
"""What a setting may do to the score, a logarithm: most do less than a third."""


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What the model thinks that a setting adds to the score, against the reference's value."""

    parameter: str
    gain: float
    sd: float

    @property
    def is_promising(self) -> bool:
        """Whether the records give a reason to keep it: more than one standard deviation."""
        return self.gain > self.sd


def hints(
    groups: Sequence[Measured],
    chosen: TrialRecord,
    reference: TrialRecord,
    parameters: Sequence[str],
    *,
    score: Callable[[Measured], float],
    error: float,
) -> dict[str, Hint]:
    """Gains of a configuration's settings over a reference's.

    Args:
        groups: Every configuration that was measured.
        chosen: A trial of the configuration.
        reference: A trial of what it is compared with.
        parameters: Settings of the one that differ from the other's.
        score: What is to be explained; more is better.
        error: Standard deviation of the score of one trial.
    """
    names = sorted({n for g in groups for n, _ in g.configuration.items} | set(parameters))
    rows = [_terms(g.latest, reference, names) for g in groups]
    terms = list(dict.fromkeys(t for row in rows for t in row))
    columns = {term: i for i, term in enumerate(terms)}
    design = np.zeros((len(rows), len(terms) + 1))
    design[:, -1] = 1.0
    for index, row in enumerate(rows):
        design[index, [columns[term] for term in row]] = 1.0
    scores = np.asarray([score(group) for group in groups])
    weight = np.asarray([len(group.records) for group in groups]) / max(error, 1e-6) ** 2
    prior = np.diag([1 / _PRIOR_SD**2] * len(terms) + [1e-6])
    covariance = np.linalg.inv(design.T @ (design * weight[:, None]) + prior)
    mean = covariance @ (design.T @ (weight * (scores - scores.mean())))
    found = {}
    for name in parameters:
        column = columns.get((name, in_effect(chosen, name)))
        found[name] = Hint(
            parameter=name,
            gain=0.0 if column is None else float(mean[column]),
            sd=_PRIOR_SD if column is None else math.sqrt(float(covariance[column, column])),
        )
    return found


def _terms(
    record: TrialRecord, reference: TrialRecord, names: Sequence[str]
) -> list[tuple[str, Scalar]]:
    """Settings in which a trial differs from the reference, in effect."""
    pairs = ((name, in_effect(record, name)) for name in names)
    return [(name, value) for name, value in pairs if value != in_effect(reference, name)]
