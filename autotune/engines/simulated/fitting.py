"""The least-squares problem of a calibration: which parameters, how they move, what they explain.

Residuals are logarithms of predicted over measured, parameters are logarithms too, so that ten
per cent up and down weigh the same and nothing turns negative. A weak pull towards the start
value keeps a parameter where it was if no record speaks about it. Repeats of one configuration
share what the model gets wrong of it, so together they count as one: each by 1 / sqrt(number).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares

from autotune.engines.simulated.card import Card
from autotune.engines.simulated.card_values import value_of, with_values
from autotune.engines.simulated.replay import Replay
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.records import MemoryLedger, Scalar

FITTED_METRICS: Final[Mapping[str, float]] = {
    "output_tokens_per_s": 1.0,
    "ttft_8k_ns": 1.0,
    "ttft_16k_ns": 1.0,
    "ttft_32k_ns": 0.5,
    "tpot_p50_ns": 1.0,
    "itl_p50_ns": 0.4,
    "itl_single_ns": 1.0,
    "decode_8k_tokens_per_s": 0.3,
    "decode_32k_tokens_per_s": 0.3,
    "ttft_short_ns": 0.3,
    "ttft_loaded_p50_ns": 0.3,
    "e2e_p50_ns": 0.5,
}
"""What is fitted, and how much it counts: figures that hang on the client and the host's mood,
or that say the same as another one, count less. `itl_p50_ns` is the gap between chunks; how many
tokens join one is a matter of luck where the API server has no pauses: repeats of one server differ
by a factor of two."""

PARAMETERS: Final = (
    "gemm.compute",
    "gemm.bandwidth",
    "gpu.layer_us",
    "gpu.token_traffic",
    "gpu.eager_traffic",
    "host.iteration_us",
    "host.sequence_us",
    "host.piecewise_layer_us",
    "host.compiled_layer_us",
    "host.eager_layer_us",
    "host.eager_sequence_us",
    "host.frontend_chunk_us",
    "host.frontend_request_us",
    "host.frontend_prompt_token_us",
    "host.request_latency_us",
    "host.offload_iteration_us",
    "host.offload_store_us",
)
BACKEND_PARAMETERS: Final = (
    "prefill",
    "decode",
    "sequence_token_ns",
    "fp8_prefill",
    "fp8_decode",
    "launch_us",
    "fp8_launch_us",
    "host_us",
)
_SHARES: Final = frozenset({"compute", "bandwidth", "prefill", "decode"})
_LARGEST_SHARE: Final = 1.2
_PULL: Final = 0.05
_STRONG_PULL: Final = 0.3
"""For what an fp8 KV cache changes: seen in few configurations and small beside the noise, it would
follow the noise (a weak pull had a halved cache read more slowly than a whole one)."""
_WIDEST: Final = log(6.0)
_STEP: Final = 0.04
_EVALUATIONS: Final = 8
_STEPS: Final = 3
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
    """

    name: str
    replay: Replay
    measured: Mapping[str, float]
    ledger: MemoryLedger | None = None
    kv_tokens: int | None = None
    study: str = ""
    settings: tuple[tuple[str, Scalar], ...] = ()


Play = Callable[[Card, Observation], dict[str, float] | None]
"""Predicts an observation's metrics on a card; None if the server would not come up."""


class Fitter:
    """Moves a card's parameters until it explains observations.

    Args:
        card: Start values; its peaks and memory stay.
        observations: What it is to explain.
        play: How it explains.
        parameters: What moves; None for `PARAMETERS` and the attention backends that are seen.
        near: A card where to begin, closer to the solution; the pull is to the start values still.
    """

    def __init__(
        self,
        card: Card,
        observations: Sequence[Observation],
        play: Play,
        parameters: Sequence[str] | None = None,
        *,
        near: Card | None = None,
    ) -> None:
        self._card, self._observations, self._play = card, observations, play
        self._settings = [o.replay.settings_on(card) for o in observations]
        kinds = [kind_of(card, o) for o in observations]
        repeats = Counter(kinds)
        self._weights = [repeats[kind] ** -0.5 for kind in kinds]
        names = parameters or self._all_parameters()
        self.names = [name for name in names if value_of(card, name) > 0]
        self._start = np.array([value_of(card, name) for name in self.names])
        self._upper = np.array([self._most(n, v) for n, v in zip(self.names, self._start)])  # noqa: B905 - as long as each other
        self._pulls = np.array([_STRONG_PULL if ".fp8_" in n else _PULL for n in self.names])
        self._at_best: Floats = np.zeros(len(self.names)) if near is None else self._place_of(near)
        self._slopes: Floats | None = None

    def run(self) -> Card:
        """The card that explains the observations best."""
        solution = least_squares(
            self._residuals,
            self._at_best,
            jac=self._jacobian,
            bounds=(-_WIDEST, self._upper),
            loss="soft_l1",
            f_scale=_LARGE_MISS,
            max_nfev=_EVALUATIONS,
        )
        self._at_best = solution.x
        return self._at(solution.x)

    def without(self, left_out: Collection[int]) -> Card:
        """The card as it would be without some observations, by their positions; call after `run`.

        From the common solution it goes on by Gauss-Newton steps over the other observations,
        with the common Jacobian: what only the left-out ones spoke of falls back to its start.
        """
        if self._slopes is None:
            self._slopes = self._jacobian(self._at_best)
        kept = [i for i in range(len(self._observations)) if i not in left_out]
        rows = np.concatenate([np.arange(len(self.names)), *(self._rows(i) for i in kept)])
        slopes, x = self._slopes[rows], self._at_best
        for _ in range(_STEPS):
            card = self._at(x)
            misses = np.concatenate([self._pulls * x, *(self._misses(card, i) for i in kept)])
            # Weights of the loss soft_l1 (scipy.optimize.least_squares), as in `run`.
            weights = (1 + (misses / _LARGE_MISS) ** 2) ** -0.25
            step, *_ = np.linalg.lstsq(slopes * weights[:, None], -misses * weights, rcond=None)
            x = np.clip(x + step, -_WIDEST, self._upper)
        return self._at(x)

    def _place_of(self, card: Card) -> Floats:
        """A card's parameters as logarithms over the start values, within the bounds."""
        values = np.array([value_of(card, name) for name in self.names])
        place = np.log(np.maximum(values / self._start, np.exp(-_WIDEST)))
        inside: Floats = np.clip(place, -_WIDEST + _INSIDE, self._upper - _INSIDE)
        return inside

    def _rows(self, index: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Rows of residuals and Jacobian that belong to an observation."""
        counts = [len(o.measured) for o in self._observations]
        first = len(self.names) + sum(counts[:index])
        return np.arange(first, first + counts[index])

    def _all_parameters(self) -> tuple[str, ...]:
        backends = sorted({backend_of(self._card, s) for s in self._settings})
        attention = tuple(f"attention.{b}.{p}" for b in backends for p in BACKEND_PARAMETERS)
        return (*PARAMETERS, *attention)

    @staticmethod
    def _most(name: str, start: float) -> float:
        """Upper bound of log(value / start): no efficiency beyond the peak and a little."""
        if name.rpartition(".")[2] in _SHARES:
            return max(1e-3, log(_LARGEST_SHARE / start))
        return _WIDEST

    def _at(self, x: Floats) -> Card:
        values = self._start * np.exp(x)
        return with_values(
            self._card, {n: float(v) for n, v in zip(self.names, values, strict=True)}
        )

    def _residuals(self, x: Floats) -> Floats:
        card = self._at(x)
        parts = [self._misses(card, index) for index in range(len(self._observations))]
        return np.concatenate([self._pulls * x, *parts])

    def _misses(self, card: Card, index: int) -> Floats:
        """Weighted log(predicted / measured) of one observation's metrics."""
        observation, weight = self._observations[index], self._weights[index]
        predicted = self._play(card, observation) or {}
        return np.array(
            [
                weight * FITTED_METRICS.get(metric, 1.0) * log(predicted[metric] / value)
                if predicted.get(metric)
                else 0.0
                for metric, value in sorted(observation.measured.items())
            ]
        )

    def _jacobian(self, x: Floats) -> Floats:
        """Forward differences; an observation that a parameter cannot touch is not played."""
        here = self._at(x)
        before = [self._misses(here, index) for index in range(len(self._observations))]
        columns = []
        for position, name in enumerate(self.names):
            moved = x.copy()
            moved[position] += _STEP
            there = self._at(moved)
            pull = np.zeros(len(x))
            pull[position] = self._pulls[position]
            parts = [
                (self._misses(there, index) - old) / _STEP
                if touches(name, self._settings[index], self._card)
                else np.zeros(len(old))
                for index, old in enumerate(before)
            ]
            columns.append(np.concatenate([pull, *parts]))
        return np.array(columns).T


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


def backend_of(card: Card, settings: ServeSettings) -> str:
    """The attention backend's name in the card's file."""
    name = settings.attention_backend
    return name if name in card.attention else "FLASH_ATTN"


def touches(name: str, settings: ServeSettings, card: Card) -> bool:
    """Whether a parameter can change anything for a server with these settings."""
    eager = settings.graph_mode is GraphMode.EAGER
    if name.startswith("attention."):
        _, backend, parameter = name.split(".")
        seen = backend == backend_of(card, settings)
        return seen and (settings.fp8_kv or not parameter.startswith("fp8_"))
    if "eager" in name:
        return eager
    if name in {"gpu.token_traffic", "host.piecewise_layer_us", "host.compiled_layer_us"}:
        return not eager
    return settings.offload_bytes > 0 or "offload" not in name
