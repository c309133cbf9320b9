"""Cards fitted without some records: what a calibration is worth on what it has not seen."""

from collections.abc import Collection, Iterator, Sequence

from autotune.engines.simulated.calibrate import Errors, accounts_of, errors_of
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.fitting import Fitter, Observation, Play, kind_of
from autotune.engines.simulated.memory_fit import with_fitted_memory


def cross_validated(
    fitter: Fitter, card: Card, observations: Sequence[Observation], play: Play
) -> Errors:
    """Errors of each observation on a card fitted without it and without its repeats.

    Repeats are observations of the same model with the same settings, in whatever study.

    Args:
        fitter: Has run over the observations.
        card: Where it started.
        observations: Of one card.
        play: As the fitter plays them.
    """
    pooled: dict[str, list[float]] = {}
    for outside, fitted in left_out_cards(fitter, card, observations):
        errors = errors_of(fitted, [observations[i] for i in outside], play)
        for metric, values in errors.items():
            pooled.setdefault(metric, []).extend(values)
    return {metric: tuple(values) for metric, values in sorted(pooled.items())}


def left_out_cards(
    fitter: Fitter, card: Card, observations: Sequence[Observation]
) -> Iterator[tuple[tuple[int, ...], Card]]:
    """For each configuration the positions of its observations, and the card fitted without them.

    Args:
        fitter: Has run over the observations.
        card: Where it started.
        observations: Of one card.
    """
    kinds = [kind_of(card, o) for o in observations]
    for kind in dict.fromkeys(kinds):
        outside = tuple(i for i, k in enumerate(kinds) if k == kind)
        yield outside, card_without(fitter, card, observations, outside)


def card_without(
    fitter: Fitter, card: Card, observations: Sequence[Observation], left_out: Collection[int]
) -> Card:
    """The card fitted without some observations, by their positions, nor their memory.

    Args:
        fitter: Has run over the observations.
        card: Where it started.
        observations: All of them.
        left_out: Which it is not to know.
    """
    fitted = fitter.without(left_out)
    inside = [o for i, o in enumerate(observations) if i not in left_out]
    memory = with_fitted_memory(card, accounts_of(card, inside), near=fitted).memory
    return fitted.model_copy(update={"memory": memory})
