"""Fits a card's memory constants to the ledgers in the logs of real starts.

vLLM writes what it used for weights, activations, other things and graphs
(`autotune.records.MemoryLedger`). The formulas are those of `memory.MemoryTruth`; only their
constants are fitted, by least squares over the differences in GiB.
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
    "sampler_copies",
    "non_torch_mib",
    "flashinfer_workspace_mib",
    "graph_layer_kib",
    "graph_pool_mib",
)
_ROOM: Final = HostRoom(memory_bytes=0, shm_bytes=0)
_PULL: Final = 0.01
_WIDEST: Final = 2.5

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Account:
    """One start's own account of its memory.

    Attributes:
        weights_bytes: Size of the checkpoint; None to take it from the shape.
    """

    settings: ServeSettings
    shape: ModelShape
    ledger: MemoryLedger
    weights_bytes: int | None = None


def with_fitted_memory(card: Card, accounts: Sequence[Account]) -> Card:
    """The card with the constants that explain the accounts best; itself without any."""
    told = [a for a in accounts if _measured(a.ledger)]
    if not told:
        return card
    start = np.array([getattr(card.memory, name) for name in FITTED])

    def residuals(x: Floats) -> Floats:
        fitted = _with(card, start * np.exp(x))
        differences = [d for account in told for d in _differences(fitted, account)]
        return np.array([*differences, *(_PULL * x)])

    solution = least_squares(
        residuals, np.zeros(len(FITTED)), bounds=(-_WIDEST, _WIDEST), loss="soft_l1", f_scale=0.1
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
    truth = MemoryTruth(card, account.shape, account.settings, _ROOM, account.weights_bytes)
    ledger = account.ledger
    pairs = (
        (truth.weights, ledger.weights_gib),
        (truth.activation, ledger.activation_gib),
        (truth.non_torch, ledger.non_torch_gib),
        (truth.graphs, ledger.graphs_gib),
    )
    return [size / BYTES_PER_GIB - gib for size, gib in pairs if gib is not None]
