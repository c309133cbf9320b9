"""Which settings an engine refuses, learnt from yes and no alone.

Engines refuse single values and pairs of values (a backend with a KV type). A smooth model
blames every setting of a refused configuration a little, and a good value that was unlucky twice
is not tried again. Here each failure has suspects: the values and pairs in it that no started
configuration held. A suspect is believed the more, the more failures it explains, and what has
been started is cleared for good.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from autotune.records import Configuration, Scalar
from autotune.spec.parameters import DEFAULT
from autotune.study.surrogate.features import FloatArray

Setting = tuple[str, Scalar]
Suspect = frozenset[Setting]

_SINGLE: Final = 0.5
"""Weight of all single values in a failure together, against 1 for all its pairs: a value that
an engine lacks altogether is taken out of the space before the search."""


class RefusalModel:
    """Probability that a configuration is refused."""

    def __init__(self, parameters: Sequence[str]) -> None:
        self._parameters = tuple(parameters)
        self._belief: dict[Suspect, float] = {}

    def fit(self, started: Iterable[Configuration], refused: Iterable[Configuration]) -> None:
        """Learn from configurations that started and that were refused."""
        cleared: set[Suspect] = set()
        for configuration in started:
            cleared.update(self._suspects(configuration))
        failures = [
            [s for s in self._suspects(configuration) if s not in cleared]
            for configuration in refused
        ]
        self._belief = _explain([f for f in failures if f])

    def refused(self, configurations: Sequence[Configuration]) -> FloatArray:
        """Probability that each is refused: that any suspect in it is a cause."""
        chances = np.zeros(len(configurations))
        if not self._belief:
            return chances
        for index, configuration in enumerate(configurations):
            settings = set(self._settings(configuration))
            clear = 1.0
            for suspect, belief in self._belief.items():
                if suspect <= settings:
                    clear *= 1 - belief
            chances[index] = 1 - clear
        return chances

    def _settings(self, configuration: Configuration) -> tuple[Setting, ...]:
        values = configuration.values
        return tuple((name, values.get(name, DEFAULT)) for name in self._parameters)

    def _suspects(self, configuration: Configuration) -> list[Suspect]:
        settings = self._settings(configuration)
        singles = [frozenset([s]) for s in settings]
        return singles + [frozenset(pair) for pair in itertools.combinations(settings, 2)]


def _explain(failures: Sequence[Sequence[Suspect]]) -> dict[Suspect, float]:
    """Share each failure out among its suspects.

    A suspect's belief is the chance that at least one failure is its doing, so one that is in
    several failures is believed more. Sharing again in proportion to belief until it settles
    was tried: it condemns good values for good (docs/search.md).
    """
    clear: dict[Suspect, float] = {}
    for suspects in failures:
        sizes = Counter(len(s) for s in suspects)
        weights = [_SINGLE / sizes[1] if len(s) == 1 else 1 / sizes[2] for s in suspects]
        total = sum(weights)
        for suspect, weight in zip(suspects, weights, strict=True):
            clear[suspect] = clear.get(suspect, 1.0) * (1 - weight / total)
    return {suspect: 1 - chance for suspect, chance in clear.items()}
