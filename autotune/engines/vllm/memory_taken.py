"""Whether the memory that a start lacked was taken by something else while it was profiled.

vLLM measures what it takes as the change of the card's free memory (utils/mem_utils.py,
`memory_profiling`): what other processes take meanwhile counts as its own. Then it finds no room
for a KV cache, whatever was asked for.
"""

from dataclasses import replace
from typing import Final

from autotune.engines.vllm.logs import ledger
from autotune.records import Failure, FailureKind, MemoryLedger
from autotune.seams.engine import Evidence
from autotune.units import gib_from_bytes

TIMES_THE_MOST: Final = 2.0
"""So many times the most that a start takes beside its weights, nothing of its own explains."""

_KV_KINDS: Final = frozenset({FailureKind.NO_ROOM_FOR_KV, FailureKind.KV_TOO_SMALL})


def without_room(failure: Failure, evidence: Evidence) -> Failure:
    """A failure for want of KV memory with the figures of the log, named anew if others took it."""
    if failure.kind not in _KV_KINDS:
        return failure
    told = ledger(evidence.log)
    if failure.kind is FailureKind.NO_ROOM_FOR_KV and failure.available_gib is None:
        left = told.kv_cache_gib
        failure = replace(failure, available_gib=left, margin_gib=left)
    return _taken(failure, told, evidence) or failure


def _taken(failure: Failure, told: MemoryLedger, evidence: Evidence) -> Failure | None:
    """The failure as that of others; None where what the engine takes may explain it."""
    share, most = (evidence.predicted.get(x) for x in ("share_bytes", "profiled_most_bytes"))
    left, weights_gib = failure.available_gib, told.weights_gib
    if share is None or most is None or left is None or weights_gib is None:
        return None
    share_gib, most_gib = gib_from_bytes(share), gib_from_bytes(most)
    beside_gib = share_gib - left - weights_gib
    if beside_gib <= TIMES_THE_MOST * most_gib:
        return None
    others_gib = beside_gib - most_gib
    return replace(
        failure,
        kind=FailureKind.GPU_MEMORY_TAKEN,
        message=(
            f"{beside_gib:.2f} GiB beside {weights_gib:.2f} of weights were counted while memory "
            f"was profiled, and the engine takes {most_gib:.2f} at most: another process took GPU "
            "memory meanwhile"
        ),
        needed_gib=round(share_gib, 4),
        available_gib=round(share_gib - others_gib, 4),
        margin_gib=round(-others_gib, 4),
        repair={},
    )
