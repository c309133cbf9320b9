"""Expected hypervolume improvement, exact, for independent normal or log-normal predictions.

The region that a front does not dominate is cut into boxes (Lacour, Klamroth, Fonseca 2017: local
upper bounds, without redundancy). For minimised objectives with independent predictions the
expected improvement is a sum over boxes of products over objectives of
`G(u) - G(l)`, `G(z) = E[max(z - Y, 0)]` (Yang, Emmerich, Deutz, Bäck 2019, section 4). Throughputs
and latencies are learnt on a logarithm and count on their own scale, so Y is log-normal there, and
G is what Black and Scholes (1973) pay for an option.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from autotune.analysis.pareto import is_on_front
from autotune.study.surrogate.features import FloatArray


def boxes_outside(front: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cut what the front does not dominate, and the reference does, into disjoint boxes.

    Args:
        front: (n, objectives), minimised; dominated rows do no harm.
        reference: The point under which volume counts.

    Returns:
        Lower corners (-inf at the open ends) and upper corners, (boxes, objectives) each.
    """
    count = len(reference)
    inside = front[np.all(front < reference, axis=1)]
    inside = np.unique(inside[is_on_front(inside)], axis=0) if len(inside) else inside
    # A local upper bound, and beside it the front's points that define it in each objective.
    bounds = reference.reshape(1, count).astype(np.float64)
    definers = np.full((1, count, count), -np.inf)
    for objective in range(count):
        definers[0, objective, objective] = reference[objective]
    for point in inside:
        bounds, definers = _with_point(bounds, definers, point)
    return _boxes(bounds, definers, reference)


def _with_point(
    bounds: FloatArray, definers: FloatArray, point: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Replace the local upper bounds that a point lies strictly under."""
    hit = np.all(point < bounds, axis=1)
    if not hit.any():
        return bounds, definers
    kept_bounds, kept_definers = [bounds[~hit]], [definers[~hit]]
    count = bounds.shape[1]
    for objective in range(count):
        others = [o for o in range(count) if o != objective]
        highest = definers[hit][:, others, objective].max(axis=1, initial=-np.inf)
        fits = point[objective] >= highest
        new_bounds = bounds[hit][fits].copy()
        new_bounds[:, objective] = point[objective]
        new_definers = definers[hit][fits].copy()
        new_definers[:, objective, :] = point
        kept_bounds.append(new_bounds)
        kept_definers.append(new_definers)
    return np.concatenate(kept_bounds), np.concatenate(kept_definers)


def _boxes(
    bounds: FloatArray, definers: FloatArray, reference: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Boxes of local upper bounds (Lacour et al., equation 9)."""
    count = len(reference)
    lower = np.full_like(bounds, -np.inf)
    upper = bounds.copy()
    for objective in range(1, count):
        lower[:, objective] = definers[:, :objective, objective].max(axis=1)
    upper[:, 0] = bounds[:, 0]
    real = np.all(lower < upper, axis=1)
    return lower[real], upper[real]


def expected_improvement(
    mean: FloatArray,
    deviation: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    signs: Sequence[float] | None = None,
) -> FloatArray:
    """Expected gain in hypervolume of each candidate.

    Args:
        mean: (candidates, objectives), minimised.
        deviation: Standard deviations of the same shape, positive.
        lower: Of `boxes_outside`.
        upper: Likewise.
        signs: None where the boxes are on the predictions' scale. Else predictions are of
            `sign * log(value)`, boxes of `sign * value`; -1 for what is maximised.

    Returns:
        (candidates,).
    """
    total = np.ones((len(mean), len(lower)))
    for objective in range(mean.shape[1]):
        corners, places = np.unique(
            np.concatenate([lower[:, objective], upper[:, objective]]), return_inverse=True
        )
        centre, spread = mean[:, objective, None], deviation[:, objective, None]
        if signs is None:
            below = _expected_below(centre, spread, corners[None, :])
        else:
            below = _expected_below_exp(centre, spread, corners[None, :], signs[objective])
        total *= below[:, places[len(lower) :]] - below[:, places[: len(lower)]]
    return np.asarray(total.sum(axis=1))


def _expected_below(mean: FloatArray, deviation: FloatArray, corner: FloatArray) -> FloatArray:
    """E[max(corner - Y, 0)] for normal Y; 0 at minus infinity."""
    with np.errstate(invalid="ignore"):
        scaled = (corner - mean) / deviation
        density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
        value = deviation * (scaled * ndtr(scaled) + density)
    return np.where(np.isneginf(corner), 0.0, value)


def _expected_below_exp(
    mean: FloatArray, deviation: FloatArray, corner: FloatArray, sign: float
) -> FloatArray:
    """E[max(corner - sign * V, 0)] for V whose `sign * log` is normal."""
    bound = np.maximum(sign * corner, 1e-300)  # of V; an open end is 0 or infinity
    expected = np.exp(sign * mean + deviation**2 / 2)
    with np.errstate(invalid="ignore"):
        scaled = (sign * np.log(bound) - mean) / deviation
        value = sign * (bound * ndtr(scaled) - expected * ndtr(scaled - sign * deviation))
    return np.where(np.isneginf(corner), 0.0, value)
