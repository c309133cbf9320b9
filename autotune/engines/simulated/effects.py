"""What one setting changes, measured and predicted: does the model at least get the sign right?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autotune.engines.simulated.calibrate import kind_of
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.fitting import Observation, Play

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
    """
    found: list[Effect] = []
    for study in dict.fromkeys(o.study for o in observations):
        here = [o for o in observations if o.study == study]
        base = min(here, key=lambda o: len(o.settings))
        at_base = play(card, base) or {}
        for other in here:
            if other is not base:
                found += _between(base, at_base, other, play(card, other) or {}, card)
    return found


def _between(
    base: Observation,
    at_base: dict[str, float],
    other: Observation,
    at_other: dict[str, float],
    card: Card,
) -> list[Effect]:
    before = dict(base.settings)
    repeats = kind_of(card, base) == kind_of(card, other)
    settings = () if repeats else tuple(
        f"{name}={value}" for name, value in other.settings if before.get(name) != value
    )  # fmt: skip
    return [
        Effect(
            study=other.study,
            name=other.name,
            metric=metric,
            settings=settings,
            measured=other.measured[metric] / base.measured[metric] - 1,
            predicted=at_other[metric] / at_base[metric] - 1,
        )
        for metric in COMPARED
        if metric in base.measured and metric in other.measured
        and at_base.get(metric) and at_other.get(metric)
    ]  # fmt: skip
