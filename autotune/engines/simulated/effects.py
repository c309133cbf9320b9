"""What one setting changes, measured and predicted: does the model at least get the sign right?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Final

from autotune.engines.simulated.card import Card
from autotune.engines.simulated.fitting import Observation, Play, kind_of

COMPARED: Final = ("output_tokens_per_s", "ttft_8k_ns", "ttft_16k_ns", "tpot_p50_ns")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Relative change of a metric against the study's plainest configuration.

    Attributes:
        study: Where both were measured.
        name: The configuration that differs.
        settings: What differs, as `parameter=value`; empty for a repeat of the same server.
        measured: (value - base's value) / base's value.
        predicted: The same of the replays.
    """

    study: str
    name: str
    metric: str
    settings: tuple[str, ...]
    measured: float
    predicted: float

    @property
    def sign_is_right(self) -> bool:
        """Whether prediction and measurement have the same sign."""
        return self.measured * self.predicted > 0


def effects_of(card: Card, observations: Sequence[Observation], play: Play) -> list[Effect]:
    """Effects in every study, in the observations' order.

    A study's base is its observation with the fewest settings, which leaves most to the engine.
    Repeats of one configuration are one: geometric means are compared. Repeats of the base are
    held against the first of them, for scale.
    """
    found: list[Effect] = []
    for study in dict.fromkeys(o.study for o in observations):
        here = [o for o in observations if o.study == study]
        base = min(here, key=lambda o: len(o.settings))
        kinds: dict[object, list[Observation]] = {}
        for observation in here:
            kinds.setdefault(kind_of(card, observation), []).append(observation)
        bases = kinds.pop(kind_of(card, base))
        at_base = _mean(card, bases, play)
        for other in bases:
            if other is not base:
                found += _between(_mean(card, [base], play), _mean(card, [other], play))
        for alike in kinds.values():
            found += _between(at_base, _mean(card, alike, play))
    return found


@dataclass(frozen=True, kw_only=True)
class _Mean:
    """Observations of one configuration: the first one, and geometric means of all."""

    first: Observation
    kind: object
    measured: Mapping[str, float]
    predicted: Mapping[str, float]


def _mean(card: Card, alike: Sequence[Observation], play: Play) -> _Mean:
    played = [play(card, o) or {} for o in alike]
    return _Mean(
        first=alike[0],
        kind=kind_of(card, alike[0]),
        measured=_geometric([o.measured for o in alike]),
        predicted=_geometric(played),
    )


def _geometric(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in COMPARED:
        values = [f[metric] for f in figures if f.get(metric)]
        if values:
            found[metric] = geometric_mean(values)
    return found


def _between(base: _Mean, other: _Mean) -> list[Effect]:
    before = dict(base.first.settings)
    settings = () if base.kind == other.kind else tuple(
        f"{name}={value}"
        for name, value in other.first.settings if before.get(name) != value
    )  # fmt: skip
    return [
        Effect(
            study=other.first.study,
            name=other.first.name,
            metric=metric,
            settings=settings,
            measured=other.measured[metric] / base.measured[metric] - 1,
            predicted=other.predicted[metric] / base.predicted[metric] - 1,
        )
        for metric in COMPARED
        if all(metric in f for f in (base.measured, base.predicted, other.measured,
                                     other.predicted))
    ]  # fmt: skip
