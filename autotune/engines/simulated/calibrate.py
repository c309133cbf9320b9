"""Fits a card's efficiencies to trials of real vLLM on a real card, and says how well.

Each record's configuration is replayed on the simulated card (`replay`); `fitting` moves the
card's parameters until metrics agree, `memory_fit` its memory constants until the ledgers do.
The error is that on records that a fit has not seen: a share left out by lot, or (`left_out`) one
configuration after the other with all its repeats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from scipy.stats import spearmanr

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Calibration, Card
from autotune.engines.simulated.fit_metrics import FITTED_METRICS
from autotune.engines.simulated.fitting import Fitter, Observation, Play
from autotune.engines.simulated.memory_fit import Account, with_fitted_memory
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import LoadFigures, Replay, replayed_metrics, whole_load
from autotune.errors import UsageError
from autotune.records import OutcomeStatus, TrialRecord
from autotune.seams.engine import ModelFacts
from autotune.spec.workload import Workload
from autotune.units import NS_PER_S

THROUGHPUT: Final = "output_tokens_per_s"
KV_TOKENS: Final = "context_capacity_tokens"
_FEWEST: Final = 4
_COMPILED_NS: Final = 10 * NS_PER_S
"""From here on a start has compiled its graphs: on an H100 that took 15 to 31 s, and 4 to 7 s where
they came from the cache."""
_NO_RESULT: Final = frozenset({OutcomeStatus.FAILED, OutcomeStatus.SCREENED})

Errors = Mapping[str, tuple[float, ...]]
"""Metric to relative errors |predicted - measured| / measured."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a calibration gave.

    Attributes:
        card: With fitted efficiencies and where they are from.
        errors: On the records left out, in their order.
        fitted_errors: The same on the records that were fitted.
        rank_correlation: Spearman's, of output tokens/s over all records; None under four.
        left_out: Names of the records left out.
        unplayable: Names of records whose configuration the simulated server refuses.
    """

    card: Card
    errors: Errors
    fitted_errors: Errors
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
    if record.simulated or not measured or record.outcome.status in _NO_RESULT:
        return None
    applied = record.applied
    replay = Replay(
        argv=record.command,
        shape=shape_of(model),
        release=release_named(record.environment.get("engine_release")),
        workload=workload,
        kv_tokens=None if applied is None else applied.kv_cache_tokens,
        weights_bytes=model.weights_bytes,
        compiles=(record.metrics.get("startup_compile_ns") or 0.0) > _COMPILED_NS,
    )
    return Observation(
        name=f"{record.study} {record.label or record.number}",
        replay=replay,
        measured=measured,
        ledger=record.ledger,
        kv_tokens=replay.kv_tokens,
        study=record.study,
        settings=record.configuration.items,
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
    play: Play | None = None,
) -> Fit:
    """Fit a card to some observations and hold it against the others.

    Args:
        observations: Of one card, on one kind of host.
        card: Start values; its peaks and memory stay.
        date: ISO 8601 day, for the file.
        release: That was measured, for the file.
        held_out_share: Share of the observations that the fit does not see.
        seed: Which those are.
        parameters: What is fitted; None for all that the observations speak of.
        play: How observations are replayed; None for `player()`.

    Raises:
        UsageError: If there are too few observations.
    """
    play = play or player()
    playable = [o for o in observations if play(card, o) is not None]
    unplayable = tuple(o.name for o in observations if o not in playable)
    if len(playable) < _FEWEST:
        message = f"a calibration needs {_FEWEST} measured trials or more, not {len(playable)}"
        raise UsageError(message, hint="Measure more configurations on the real card first.")
    order = np.random.default_rng(seed).permutation(len(playable))
    count = min(round(len(playable) * held_out_share), len(playable) - 3)
    left_out = [playable[i] for i in sorted(order[:count])]
    fitted = [playable[i] for i in sorted(order[count:])]
    better = fitted_card(card, fitted, play, parameters)
    errors = errors_of(better, left_out, play)
    summary = summary_of(errors)
    calibration = Calibration(
        date=date,
        release=release,
        records=len(fitted),
        held_out_records=len(left_out),
        median_error=summary["median_error"],
        p90_error=summary["p90_error"],
    )
    return Fit(
        card=better.model_copy(update={"calibrated": calibration}),
        errors=errors,
        fitted_errors=errors_of(better, fitted, play),
        rank_correlation=rank_correlation(better, playable, play),
        left_out=tuple(o.name for o in left_out),
        unplayable=unplayable,
    )


def player(figures: LoadFigures = whole_load) -> Play:
    """Replays observations, with the load's figures made this way."""
    return partial(_played, figures=figures)


def accounts_of(card: Card, observations: Sequence[Observation]) -> list[Account]:
    """What the observations' starts told of their memory."""
    return [a for o in observations if (a := _account(card, o)) is not None]


def fitted_card(
    card: Card,
    observations: Sequence[Observation],
    play: Play,
    parameters: Sequence[str] | None = None,
) -> Card:
    """The card whose memory and efficiencies explain these observations best."""
    remembered = with_fitted_memory(card, accounts_of(card, observations))
    return Fitter(remembered, observations, play, parameters).run()


def errors_of(card: Card, observations: Sequence[Observation], play: Play) -> Errors:
    """Relative errors of predictions, by metric, in the observations' order."""
    errors: dict[str, list[float]] = {}
    for observation in observations:
        predicted = play(card, observation) or {}
        for metric, value in observation.measured.items():
            if metric in predicted:
                errors.setdefault(metric, []).append(abs(predicted[metric] - value) / value)
        tokens = observation.kv_tokens
        if tokens:
            error = abs(_kv_tokens(card, observation) - tokens) / tokens
            errors.setdefault(KV_TOKENS, []).append(error)
    return {metric: tuple(values) for metric, values in sorted(errors.items())}


def summary_of(errors: Errors) -> dict[str, dict[str, float]]:
    """Median and 90th percentile of each metric's errors, as the card's file holds them."""
    return {
        "median_error": {m: round(float(np.median(e)), 4) for m, e in errors.items()},
        "p90_error": {m: round(float(np.percentile(e, 90)), 4) for m, e in errors.items()},
    }


def rank_correlation(card: Card, observations: Sequence[Observation], play: Play) -> float | None:
    """Spearman's, of output tokens/s; None under four observations."""
    pairs = [
        (played[THROUGHPUT], o.measured[THROUGHPUT])
        for o in observations
        if THROUGHPUT in o.measured and (played := play(card, o)) is not None
    ]
    if len(pairs) < _FEWEST:
        return None
    return float(spearmanr([p for p, _ in pairs], [m for _, m in pairs]).statistic)


def write_card(card: Card, path: Path) -> None:
    """Write a card's file, fitted values to four digits; of memory, which adds up, to six."""
    plain = card.model_dump(mode="json", exclude_defaults=True)
    content = _rounded(plain)
    if "memory" in plain:
        content["memory"] = _rounded(plain["memory"], digits=6)
    content["calibrated"] = None if card.calibrated is None else _rounded(
        card.calibrated.model_dump(mode="json")
    )  # fmt: skip
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    path.write_text(f"# {card.title}. Written by `autotune calibrate`.\n{text}", encoding="utf-8")


def _account(card: Card, observation: Observation) -> Account | None:
    ledger, replay = observation.ledger, observation.replay
    if ledger is None:
        return None
    if ledger.activation_gib is None:
        # Profiling was skipped, as it is for servers that start side by side: what free memory
        # lost during the capture of graphs then went to its neighbours, too.
        ledger = replace(ledger, graphs_gib=None)
    return Account(
        settings=replay.settings_on(card),
        shape=replay.shape,
        ledger=ledger,
        weights_bytes=replay.weights_bytes,
        compiles=replay.compiles,
    )


def _played(card: Card, observation: Observation, figures: LoadFigures) -> dict[str, float] | None:
    try:
        return replayed_metrics(card, observation.replay, figures)
    except StartRefused:
        return None


def _kv_tokens(card: Card, observation: Observation) -> int:
    """Tokens that the simulated KV cache would hold; 0 if the server would not come up."""
    try:
        return observation.replay.memory_on(card).plan().kv_tokens
    except StartRefused:
        return 0


def _rounded(value: Any, digits: int = 4) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    return [_rounded(item, digits) for item in value] if isinstance(value, list) else value
