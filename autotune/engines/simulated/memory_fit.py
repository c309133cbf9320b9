"""Fits a card's memory constants to the ledgers in the logs of real starts.

vLLM writes what it used for weights, activations, other things and graphs
(`autotune.records.MemoryLedger`). The formulas are those of `memory.MemoryTruth`; only their
constants are fitted, by least squares over the differences in GiB. Its sum, what is left for KV
blocks, the log tells to a block and its parts to 0.01 GiB, so the sum weighs more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom
from autotune.engines.simulated.settings import ServeSettings
from autotune.records import MemoryLedger
from autotune.units import BYTES_PER_GIB

FITTED: Final = (
    "weights_factor",
    "weights_extra_mib",
    "int4_weights_factor",
    "int4_profile_mib",
    "activation_factor",
    "activation_mib",
    "compile_mib",
    "sampler_copies",
    "non_torch_mib",
    "flashinfer_workspace_mib",
    "graph_layer_kib",
    "graph_pool_mib",
)
_ROOM: Final = HostRoom(memory_bytes=0, shm_bytes=0)
_PULL: Final = 0.01
_KV_WEIGHT: Final = 30.0
_WIDEST: Final = 2.5
_CLOSE: Final = 1e-12
"""Sums are known to a part in ten thousand of their terms, so the usual 1e-8 ends too early."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Account:
    """One start's own account of its memory.

    Attributes:
        weights_bytes: Size of the checkpoint; None to take it from the shape.
        compiles: Whether the start compiled its graphs.
    """

    settings: ServeSettings
    shape: ModelShape
    ledger: MemoryLedger
    weights_bytes: int | None = None
    compiles: bool = False


def with_fitted_memory(
    card: Card, accounts: Sequence[Account], *, near: Card | None = None
) -> Card:
    """The card with the constants that explain the accounts best; itself without any.

    Args:
        card: Its constants are the start, to which those are pulled that no account tells of.
        accounts: Of starts on such a card.
        near: Where to begin, to be done sooner.
    """
    told = [a for a in accounts if _measured(a.ledger)]
    if not told:
        return card
    start = np.array([getattr(card.memory, name) for name in FITTED])

    def residuals(x: Floats) -> Floats:
        fitted = _with(card, start * np.exp(x))
        differences = [d for account in told for d in _differences(fitted, account)]
        return np.array([*differences, *(_PULL * x)])

    first = np.zeros(len(FITTED))
    if near is not None:
        known = np.array([getattr(near.memory, name) for name in FITTED])
        moved = (known > 0) & (start > 0)
        first[moved] = np.log(known[moved] / start[moved]).clip(-_WIDEST * 0.99, _WIDEST * 0.99)
    solution = least_squares(
        residuals,
        first,
        bounds=(-_WIDEST, _WIDEST),
        x_scale="jac",
        loss="soft_l1",
        f_scale=0.1,
        ftol=_CLOSE,
        xtol=_CLOSE,
    )
    return _with(card, start * np.exp(solution.x))


def _with(card: Card, values: Floats) -> Card:
    update = {name: float(value) for name, value in zip(FITTED, values, strict=True)}
    return card.model_copy(update={"memory": card.memory.model_copy(update=update)})


def _measured(ledger: MemoryLedger) -> bool:
    return any(
        part is not None
        for part in (ledger.weights_gib, ledger.activation_gib, ledger.non_torch_gib)
    )


def _differences(card: Card, account: Account) -> list[float]:
    """Predicted less stated, in GiB, of each part that the ledger states."""
    truth = MemoryTruth(
        card, account.shape, account.settings, _ROOM, account.weights_bytes,
        compiles=account.compiles,
    )  # fmt: skip
    ledger = account.ledger
    pairs = (
        (truth.weights, ledger.weights_gib),
        (truth.activation, ledger.activation_gib),
        (truth.non_torch, ledger.non_torch_gib),
        (truth.graphs, ledger.graphs_gib),
    )
    parts = [size / BYTES_PER_GIB - gib for size, gib in pairs if gib is not None]
    return [*parts, *_left_for_kv(truth, ledger)]


def _left_for_kv(truth: MemoryTruth, ledger: MemoryLedger) -> list[float]:
    """Predicted less stated memory for KV blocks, weighted; of a block that is begun, half."""
    tokens, settings = ledger.kv_cache_tokens, truth.settings
    if not tokens or ledger.activation_gib is None or settings.kv_cache_memory_bytes is not None:
        return []
    stated = (tokens / settings.block_size + 0.5) * truth.block_bytes
    left = truth.requested - truth.weights - truth.activation - truth.non_torch
    left -= truth.graphs_estimate or 0
    return [_KV_WEIGHT * (left - stated) / BYTES_PER_GIB]
