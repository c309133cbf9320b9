"""The least-squares problem of a calibration: which parameters, how they move, what they explain.

Residuals are logarithms of predicted over measured, parameters are logarithms too, so that ten
per cent up and down weigh the same and nothing turns negative. A weak pull towards the start
value keeps a parameter where it was if no record speaks about it. Repeats of one configuration
share what the model gets wrong of it, so together they count as one: each by 1 / sqrt(number).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares

from autotune.engines.simulated.card import Card
from autotune.engines.simulated.card_values import value_of, with_values
from autotune.engines.simulated.fit_metrics import miss_of
from autotune.engines.simulated.fit_parameters import (
    BACKEND_PARAMETERS,
    MACHINE_PULL,
    PARAMETERS,
    WIDEST,
    backend_of,
    most_of,
    on_host,
    pull_of,
    touches,
)
from autotune.engines.simulated.replay import Replay
from autotune.records import MemoryLedger, Scalar

_STEP: Final = 0.04
_EVALUATIONS: Final = 8
_STEPS: Final = 3
_STEPS_WITHOUT: Final = 1
_SHARES_OF_STEP: Final = (1.0, 0.5, 0.25)
_INSIDE: Final = 1e-6
_LARGE_MISS: Final = 0.1
"""From here on a miss counts by its size, not by its square: outliers do not rule."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One measured configuration.

    Attributes:
        name: For reports.
        replay: How it is played on the simulated card.
        measured: Metric to measured value.
        ledger: The start's own account of memory, where its log has one.
        kv_tokens: Tokens of the KV cache that the server reported.
        study: Measured side by side: only these are compared with each other.
        settings: Parameter to value, as it was asked for.
        machine: Which machine it ran on, where several of one kind were measured.
    """

    name: str
    replay: Replay
    measured: Mapping[str, float]
    ledger: MemoryLedger | None = None
    kv_tokens: int | None = None
    study: str = ""
    settings: tuple[tuple[str, Scalar], ...] = ()
    machine: str = ""


Play = Callable[[Card, Observation], dict[str, float] | None]
"""Predicts an observation's metrics on a card; None if the server would not come up."""


class Fitter:
    """Moves a card's parameters until it explains observations.

    Where they are of several machines, each machine's processor gets a factor on the card's host
    costs, too (`host_factors`), so that a slow machine does not make the card slow: the card is
    that of a machine in the middle.

    Args:
        card: Start values; its peaks and memory stay.
        observations: What it is to explain.
        play: How it explains.
        parameters: What moves; None for `PARAMETERS` and the attention backends that are seen.
        near: A card where to begin, closer to the solution; the pull is to the start values still.
        near_factors: The machines' factors where to begin; 1 for one that is not named.
    """

    def __init__(
        self,
        card: Card,
        observations: Sequence[Observation],
        play: Play,
        parameters: Sequence[str] | None = None,
        *,
        near: Card | None = None,
        near_factors: Mapping[str, float] | None = None,
    ) -> None:
        self._card, self._observations, self._play = card, observations, play
        self._settings = [o.replay.settings_on(card) for o in observations]
        kinds = [kind_of(card, o) for o in observations]
        repeats = Counter(kinds)
        self._weights = [repeats[kind] ** -0.5 for kind in kinds]
        names = parameters or self._all_parameters()
        self.names = [name for name in names if value_of(card, name) > 0]
        self._start = np.array([value_of(card, name) for name in self.names])
        machines = sorted({o.machine for o in observations})
        self._machines = machines if machines[1:] else []
        self.host_factors: dict[str, float] = dict.fromkeys(self._machines, 1.0)
        most = [most_of(n, v) for n, v in zip(self.names, self._start, strict=True)]
        self._upper = np.array([*most, *(WIDEST for _ in self._machines)])
        pulls = [pull_of(name) for name in self.names]
        self._pulls = np.array([*pulls, *(MACHINE_PULL for _ in self._machines)])
        zero: Floats = np.zeros(len(self._upper))
        self._at_best: Floats = zero if near is None else self._place_of(near, near_factors or {})
        self._slopes: Floats | None = None
        self._best_misses: tuple[Floats, list[Floats]] | None = None

    def run(self) -> Card:
        """The card that explains the observations best."""
        solution = least_squares(
            self._residuals,
            self._at_best,
            jac=self._jacobian,
            bounds=(-WIDEST, self._upper),
            loss="soft_l1",
            f_scale=_LARGE_MISS,
            max_nfev=_EVALUATIONS,
        )
        self._at_best = solution.x
        return self._found(solution.x)

    def improve(self) -> Card:
        """As `run`, from near the solution: one Jacobian where it begins, then Gauss-Newton steps.

        A step that explains less than before is halved, and after that not taken. Costs a tenth of
        `run`.
        """
        self._slopes = self._jacobian(self._at_best)
        every, cost = range(len(self._observations)), self._cost(self._at_best)
        for _ in range(_STEPS):
            aim = self._stepped(every, 1)
            for share in _SHARES_OF_STEP:
                x = self._at_best + share * (aim - self._at_best)
                if (found := self._cost(x)) < cost:
                    self._at_best, cost = x, found
                    break
            else:
                break
        return self._found(self._at_best)

    def _cost(self, x: Floats) -> float:
        """What `run` makes small, times two: the loss soft_l1 of all residuals."""
        z = (self._residuals(x) / _LARGE_MISS) ** 2
        return float(np.sum(2 * (np.sqrt(1 + z) - 1)) * _LARGE_MISS**2)

    def without(self, left_out: Collection[int]) -> Card:
        """The card as it would be without some observations, by their positions.

        Call it after `run` or `improve`. From the common solution it goes one Gauss-Newton step
        over the other observations, with the common Jacobian: what only the left-out ones spoke of
        falls back to its start.
        """
        if self._slopes is None:
            self._slopes = self._jacobian(self._at_best)
        kept = [i for i in range(len(self._observations)) if i not in left_out]
        return self._found(self._stepped(kept, _STEPS_WITHOUT))

    def _stepped(self, kept: Sequence[int], steps: int) -> Floats:
        """Gauss-Newton steps from the best place, over some observations."""
        rows = np.concatenate([np.arange(len(self._upper)), *(self._rows(i) for i in kept)])
        x = self._at_best
        if self._slopes is None:
            return x
        slopes = self._slopes[rows]
        for _ in range(steps):
            misses = np.concatenate([self._pulls * x, *self._all_misses(x, kept)])
            # Weights of the loss soft_l1 (scipy.optimize.least_squares), as in `run`.
            weights = (1 + (misses / _LARGE_MISS) ** 2) ** -0.25
            step, *_ = np.linalg.lstsq(slopes * weights[:, None], -misses * weights, rcond=None)
            x = np.clip(x + step, -WIDEST, self._upper)
        return x

    def _all_misses(self, x: Floats, kept: Sequence[int]) -> list[Floats]:
        """Misses of some observations; at the best place each is played once for all fits."""
        if self._best_misses is None or self._best_misses[0] is not self._at_best:
            cards = self._cards(self._at_best)
            every = [self._misses(cards, i) for i in range(len(self._observations))]
            self._best_misses = (self._at_best, every)
        if x is self._at_best:
            return [self._best_misses[1][i] for i in kept]
        cards = self._cards(x)
        return [self._misses(cards, i) for i in kept]

    def _place_of(self, card: Card, factors: Mapping[str, float]) -> Floats:
        """A card's parameters, and machines' factors, as logarithms, within the bounds."""
        values = np.array([value_of(card, name) for name in self.names])
        known = np.log(np.maximum(values / self._start, np.exp(-WIDEST)))
        place = np.concatenate([known, np.log([factors.get(m, 1.0) for m in self._machines])])
        inside: Floats = np.clip(place, -WIDEST + _INSIDE, self._upper - _INSIDE)
        return inside

    def _rows(self, index: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Rows of residuals and Jacobian that belong to an observation."""
        counts = [len(o.measured) for o in self._observations]
        first = len(self._upper) + sum(counts[:index])
        return np.arange(first, first + counts[index])

    def _all_parameters(self) -> tuple[str, ...]:
        backends = sorted({backend_of(self._card, s) for s in self._settings})
        attention = tuple(f"attention.{b}.{p}" for b in backends for p in BACKEND_PARAMETERS)
        return (*PARAMETERS, *attention)

    def _found(self, x: Floats) -> Card:
        """The card of a machine in the middle of those that were seen: their factors average 1."""
        logs = x[len(self.names) :]
        middle = float(np.mean(logs)) if len(logs) else 0.0
        factors = np.exp(logs - middle).tolist()
        self.host_factors = dict(zip(self._machines, factors, strict=True))
        return on_host(self._at(x), float(np.exp(middle)))

    def _at(self, x: Floats) -> Card:
        values = self._start * np.exp(x[: len(self.names)])
        return with_values(
            self._card, {n: float(v) for n, v in zip(self.names, values, strict=True)}
        )

    def _cards(self, x: Floats) -> dict[str, Card]:
        """The card as each machine has it."""
        card = self._at(x)
        factors = np.exp(x[len(self.names) :]).tolist()
        if not self._machines:
            return {o.machine: card for o in self._observations}
        return {m: on_host(card, f) for m, f in zip(self._machines, factors, strict=True)}

    def _residuals(self, x: Floats) -> Floats:
        cards = self._cards(x)
        parts = [self._misses(cards, index) for index in range(len(self._observations))]
        return np.concatenate([self._pulls * x, *parts])

    def _misses(self, cards: Mapping[str, Card], index: int) -> Floats:
        """Weighted log(predicted / measured) of one observation's metrics, on its machine."""
        observation, weight = self._observations[index], self._weights[index]
        predicted = self._play(cards[observation.machine], observation) or {}
        return np.array(
            [
                weight * miss_of(metric, predicted[metric], value) if predicted.get(metric) else 0.0
                for metric, value in sorted(observation.measured.items())
            ]
        )

    def _jacobian(self, x: Floats) -> Floats:
        """Forward differences; an observation that a parameter cannot touch is not played."""
        here = self._cards(x)
        before = [self._misses(here, index) for index in range(len(self._observations))]
        columns = []
        for position, name in enumerate((*self.names, *self._machines)):
            moved = x.copy()
            moved[position] += _STEP
            there = self._cards(moved)
            pull = np.zeros(len(x))
            pull[position] = self._pulls[position]
            is_machine = position >= len(self.names)
            parts = [
                (self._misses(there, index) - old) / _STEP
                if self._concerns(name, index, is_machine=is_machine)
                else np.zeros(len(old))
                for index, old in enumerate(before)
            ]
            columns.append(np.concatenate([pull, *parts]))
        return np.array(columns).T

    def _concerns(self, name: str, index: int, *, is_machine: bool) -> bool:
        observation = self._observations[index]
        if is_machine:
            return observation.machine == name
        return touches(name, self._settings[index], self._card, observation.replay.shape)


def kind_of(card: Card, observation: Observation) -> object:
    """Equal for observations of the same model with the same settings, memory aside."""
    replay = observation.replay
    settings = replace(
        replay.settings_on(card),
        port=0,
        explicit=(),
        backend_is_explicit=False,
        gpu_memory_utilization=0.0,
        kv_cache_memory_bytes=None,
        offload_bytes=min(1, replay.settings_on(card).offload_bytes),
    )
    return replay.shape, settings
