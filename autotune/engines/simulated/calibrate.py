"""Fits a card's efficiencies to trials of real vLLM on a real card.

Each record's configuration is replayed on the simulated card; the logarithms of predicted over
measured metrics are made small by least squares (`scipy.optimize.least_squares`), over the
logarithms of the parameters. A weak pull towards the start value keeps a parameter where it was
if no record speaks about it. A share of the records is left out, and the error is that on them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Calibration, Card
from autotune.engines.simulated.card_values import value_of, with_values
from autotune.engines.simulated.memory_fit import Account, with_fitted_memory
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import LoadFigures, Replay, replayed_metrics, whole_load
from autotune.errors import UsageError
from autotune.records import MemoryLedger, TrialRecord
from autotune.seams.engine import ModelFacts
from autotune.spec.workload import Workload

FITTED_METRICS: Final = (
    "output_tokens_per_s",
    "ttft_8k_ns",
    "ttft_16k_ns",
    "itl_p50_ns",
    "itl_single_ns",
    "ttft_short_ns",
    "ttft_loaded_p50_ns",
)
_WEIGHTS: Final = {"ttft_short_ns": 0.3, "ttft_loaded_p50_ns": 0.3}
"""Figures that hang on the client and the host's mood count less."""
_KV_TOKENS: Final = "context_capacity_tokens"
_PULL: Final = 0.05
_WIDEST: Final = log(6.0)
_FEWEST: Final = 4

PARAMETERS: Final = (
    "gemm.compute",
    "gemm.bandwidth",
    "gpu.layer_us",
    "gpu.iteration_us",
    "gpu.token_traffic",
    "host.iteration_us",
    "host.sequence_us",
    "host.graph_launch_us",
    "host.piecewise_layer_us",
    "host.compiled_layer_us",
    "host.eager_layer_us",
    "host.frontend_chunk_us",
    "host.frontend_request_us",
    "host.frontend_prompt_token_us",
    "host.request_latency_us",
    "host.latency_us",
    "host.prefill_token_us",
    "host.offload_iteration_us",
)
_BACKEND_PARAMETERS: Final = ("prefill", "decode", "fp8_prefill", "fp8_decode", "host_us")
_SHARES: Final = frozenset({"compute", "bandwidth", "prefill", "decode"})
_LARGEST_SHARE: Final = 1.2


Play = Callable[[Card, "Observation"], dict[str, float] | None]
"""Predicts an observation's metrics on a card; None if the server would not come up."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One measured configuration.

    Attributes:
        name: For reports.
        replay: How it is played on the simulated card.
        measured: Metric to measured value.
        ledger: The start's own account of memory, where its log has one.
        kv_tokens: Tokens of the KV cache that the server reported.
    """

    name: str
    replay: Replay
    measured: Mapping[str, float]
    ledger: MemoryLedger | None = None
    kv_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a calibration gave.

    Attributes:
        card: With fitted efficiencies and where they are from.
        errors: Metric to relative errors on the records left out, in their order.
        fitted_errors: The same on the records that were fitted.
        rank_correlation: Spearman's, of output tokens/s over all records; None under four.
        left_out: Names of the records left out.
        unplayable: Names of records whose configuration the simulated server refuses.
    """

    card: Card
    errors: Mapping[str, tuple[float, ...]]
    fitted_errors: Mapping[str, tuple[float, ...]]
    rank_correlation: float | None
    left_out: tuple[str, ...]
    unplayable: tuple[str, ...] = ()


def observation_from(
    record: TrialRecord, model: ModelFacts, workload: Workload
) -> Observation | None:
    """A record as an observation; None if it measured nothing that can be fitted, or is simulated.

    Raises:
        SpecError: If its release cannot be imitated.
        ModelError: If the model's config.json lacks what sizes follow from.
    """
    measured = {
        tag: float(value)
        for tag in FITTED_METRICS
        if (value := record.metrics.get(tag)) is not None and value > 0
    }
    if record.simulated or not measured:
        return None
    applied = record.applied
    replay = Replay(
        argv=record.command,
        shape=shape_of(model),
        release=release_named(record.environment.get("engine_release")),
        workload=workload,
        kv_tokens=None if applied is None else applied.kv_cache_tokens,
        weights_bytes=model.weights_bytes,
    )
    return Observation(
        name=record.label or f"trial {record.number}",
        replay=replay,
        measured=measured,
        ledger=record.ledger,
        kv_tokens=replay.kv_tokens,
    )


def calibrate(
    observations: Sequence[Observation],
    card: Card,
    *,
    date: str,
    release: str,
    held_out_share: float = 1 / 3,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    figures: LoadFigures = whole_load,
) -> Fit:
    """Fit a card.

    Args:
        observations: Of one card, on one kind of host.
        card: Start values; its peaks and memory stay.
        date: ISO 8601 day, for the file.
        release: That was measured, for the file.
        held_out_share: Share of the observations that the fit does not see.
        seed: Which those are.
        parameters: What is fitted; None for `PARAMETERS` and the attention of the backends that
            were measured.

        figures: How the probe that measured makes metrics of a load's records.

    Raises:
        UsageError: If there are too few observations.
    """
    play = partial(_played, figures=figures)
    playable = [o for o in observations if play(card, o) is not None]
    unplayable = tuple(o.name for o in observations if o not in playable)
    if len(playable) < _FEWEST:
        message = f"a calibration needs {_FEWEST} measured trials or more, not {len(playable)}"
        raise UsageError(message, hint="Measure more configurations on the real card first.")
    order = np.random.default_rng(seed).permutation(len(playable))
    count = min(round(len(playable) * held_out_share), len(playable) - 3)
    left_out = [playable[i] for i in sorted(order[:count])]
    fitted = [playable[i] for i in sorted(order[count:])]
    remembered = with_fitted_memory(card, [a for o in fitted if (a := _account(card, o))])
    better = _Fitter(remembered, fitted, parameters, play).run()
    errors = _errors(better, left_out, play)
    calibration = Calibration(
        date=date,
        release=release,
        records=len(fitted),
        held_out_records=len(left_out),
        median_error={m: round(float(np.median(e)), 4) for m, e in errors.items()},
        p90_error={m: round(float(np.percentile(e, 90)), 4) for m, e in errors.items()},
    )
    return Fit(
        card=better.model_copy(update={"calibrated": calibration}),
        errors=errors,
        fitted_errors=_errors(better, fitted, play),
        rank_correlation=_rank_correlation(better, playable, play),
        left_out=tuple(o.name for o in left_out),
        unplayable=unplayable,
    )


def write_card(card: Card, path: Path) -> None:
    """Write a card's file, fitted values rounded to four digits."""
    content = _rounded(card.model_dump(mode="json", exclude_defaults=True))
    content["calibrated"] = None if card.calibrated is None else _rounded(
        card.calibrated.model_dump(mode="json")
    )  # fmt: skip
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    path.write_text(f"# {card.title}. Written by `autotune calibrate`.\n{text}", encoding="utf-8")


class _Fitter:
    """The least-squares problem."""

    def __init__(
        self,
        card: Card,
        observations: Sequence[Observation],
        parameters: Sequence[str] | None,
        play: Play,
    ) -> None:
        self._card, self._observations, self._play = card, observations, play
        self._names = list(parameters or _all_parameters(card, observations))
        self._start = np.array([value_of(card, name) for name in self._names])
        self._names = [n for n, v in zip(self._names, self._start, strict=True) if v > 0]
        self._start = self._start[self._start > 0]

    def run(self) -> Card:
        """The card that explains the observations best."""
        upper = np.array([self._most(n, v) for n, v in zip(self._names, self._start, strict=True)])
        solution = least_squares(
            self._residuals,
            np.zeros(len(self._names)),
            bounds=(-_WIDEST, upper),
            diff_step=0.02,
            loss="soft_l1",
            f_scale=0.1,
            max_nfev=12,
        )
        return self._at(solution.x)

    @staticmethod
    def _most(name: str, start: float) -> float:
        """Upper bound of log(value / start): no efficiency beyond the peak and a little."""
        if name.rpartition(".")[2] in _SHARES:
            return max(1e-3, log(_LARGEST_SHARE / start))
        return _WIDEST

    def _at(self, x: "np.ndarray[Any, np.dtype[np.float64]]") -> Card:
        values = {n: float(v) for n, v in zip(self._names, self._start * np.exp(x), strict=True)}
        return with_values(self._card, values)

    def _residuals(
        self, x: "np.ndarray[Any, np.dtype[np.float64]]"
    ) -> "np.ndarray[Any, np.dtype[np.float64]]":
        card = self._at(x)
        residuals = list(_PULL * x)
        for observation in self._observations:
            predicted = self._play(card, observation) or {}
            residuals += [
                _WEIGHTS.get(metric, 1.0) * log(predicted[metric] / value)
                if predicted.get(metric)
                else 0.0
                for metric, value in sorted(observation.measured.items())
            ]
        return np.array(residuals)


def _all_parameters(card: Card, observations: Sequence[Observation]) -> tuple[str, ...]:
    backends = sorted({_backend_of(card, o) for o in observations})
    attention = (f"attention.{b}.{p}" for b in backends for p in _BACKEND_PARAMETERS)
    return (*PARAMETERS, *attention)


def _account(card: Card, observation: Observation) -> Account | None:
    ledger, replay = observation.ledger, observation.replay
    if ledger is None:
        return None
    return Account(
        settings=replay.settings_on(card),
        shape=replay.shape,
        ledger=ledger,
        weights_bytes=replay.weights_bytes,
    )


def _backend_of(card: Card, observation: Observation) -> str:
    """The backend that an observation runs with, as the server would choose it."""
    name = observation.replay.settings_on(card).attention_backend
    return name if name in card.attention else "FLASH_ATTN"


def _played(card: Card, observation: Observation, figures: LoadFigures) -> dict[str, float] | None:
    try:
        return replayed_metrics(card, observation.replay, figures)
    except StartRefused:
        return None


def _errors(
    card: Card, observations: Sequence[Observation], play: Play
) -> dict[str, tuple[float, ...]]:
    """Relative errors |predicted - measured| / measured, by metric."""
    errors: dict[str, list[float]] = {}
    for observation in observations:
        predicted = play(card, observation) or {}
        for metric, value in observation.measured.items():
            if metric in predicted:
                errors.setdefault(metric, []).append(abs(predicted[metric] - value) / value)
        tokens = observation.kv_tokens
        if tokens:
            error = abs(_kv_tokens(card, observation) - tokens) / tokens
            errors.setdefault(_KV_TOKENS, []).append(error)
    return {metric: tuple(values) for metric, values in sorted(errors.items())}


def _kv_tokens(card: Card, observation: Observation) -> int:
    """Tokens that the simulated KV cache would hold; 0 if the server would not come up."""
    try:
        return observation.replay.memory_on(card).plan().kv_tokens
    except StartRefused:
        return 0


def _rank_correlation(card: Card, observations: Sequence[Observation], play: Play) -> float | None:
    tag = "output_tokens_per_s"
    pairs = [
        (played[tag], o.measured[tag])
        for o in observations
        if tag in o.measured and (played := play(card, o)) is not None
    ]
    if len(pairs) < _FEWEST:
        return None
    return float(spearmanr([p for p, _ in pairs], [m for _, m in pairs]).statistic)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
