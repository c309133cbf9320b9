"""The default with a smaller share of the card, where it only just breaks a memory bound.

What a user has today is then not the default itself but the nearest thing to it that the machine
can bear, and a recommendation is held against that.
"""

import math
from collections.abc import Sequence
from typing import Final

from autotune.analysis.measurements import UTILIZATION, baseline_of, differences
from autotune.analysis.pairs import known_setting
from autotune.records import Configuration, FailureKind, TrialRecord
from autotune.spec.parameters import Given, Parameter
from autotune.study.outcomes import GPU_MEMORY, violated_constraint
from autotune.units import BYTES_PER_GIB

_MOST: Final = 3
"""Steps down, one after the other; a default that is still over the bound then stays over it."""
_OVER_A_BOUND: Final = frozenset({FailureKind.MEMORY_LIMIT, FailureKind.LIMIT_MISSED})
_STEP: Final = 0.01
"""Where the space does not search the share."""
_INSTEAD: Final = frozenset({"kv_cache_memory_gib"})
"""Parameters that replace the share: an engine that is told both ignores it."""
_DUST: Final = 1e-9


def lowered_default(
    tried: Sequence[TrialRecord], default: Configuration, share: Parameter | None
) -> Configuration | None:
    """What to try next; None where the default is within its bounds, or nothing is known to help.

    Args:
        tried: Trials of the default and its repairs.
        default: The study's baseline.
        share: The space's parameter of that name, if it has one.
    """
    chain = [r for r in tried if differences(r.configuration, default) in {(), (UTILIZATION,)}]
    if not chain or any(r.is_feasible for r in chain):
        return None
    last = chain[-1]
    steps = {r.configuration for r in chain} - {default}
    over = _over_gib(last)
    current = _share_of(last)
    if over is None or current is None or len(steps) >= _MOST:
        return None
    wanted = _below(current, current - over / _total_gib(last), share)
    return None if wanted is None else default.updated({UTILIZATION: wanted})


def given_share(records: Sequence[TrialRecord], default: Configuration) -> Given | None:
    """The share that the default was lowered to, for whatever does not set one.

    What breaks the bound by default breaks it beside any other setting too, which would then
    never be measured. None where the default was not lowered.

    Args:
        records: Every trial so far.
        default: The study's baseline, as it was asked for.
    """
    tried = [r for r in records if r.configuration == default]
    if default.get(UTILIZATION) is not None or not any(_over_gib(r) is not None for r in tried):
        return None
    compared = baseline_of(records)
    if compared is None or not compared.is_feasible:
        return None
    if differences(compared.configuration, default) != (UTILIZATION,):
        return None
    share = compared.configuration.values[UTILIZATION]
    return Given(parameter=UTILIZATION, value=share, unless=_INSTEAD)


def _over_gib(record: TrialRecord) -> float | None:
    """GiB of GPU memory over the bound that ended a trial; None if something else did."""
    failure = record.outcome.failure
    if failure is None or failure.kind not in _OVER_A_BOUND or failure.repair:
        return None
    if violated_constraint(record) != GPU_MEMORY or _total_gib(record) <= 0:
        return None
    if failure.margin_gib is not None:
        return max(0.0, -failure.margin_gib)
    over = [c.value - c.bound for c in record.limits
            if c.kept is False and c.value is not None and "gpu_memory" in c.metric]  # fmt: skip
    return max(over) / BYTES_PER_GIB if over else None


def _total_gib(record: TrialRecord) -> float:
    text = record.environment.get("gpu_memory_bytes", "")
    return int(text) / BYTES_PER_GIB if text.isdecimal() else 0.0


def _share_of(record: TrialRecord) -> float | None:
    """The share that a trial ran with: as asked for, else as its server said."""
    value = known_setting(record, UTILIZATION)
    return float(value) if isinstance(value, int | float) else None


def _below(current: float, most: float, share: Parameter | None) -> float | None:
    """The largest share of the space's steps that is at most so much and lower than now."""
    if share is None:
        steps = [math.floor(most / _STEP + _DUST) * _STEP]
    else:
        steps = [float(v) for v in share.grid() if isinstance(v, int | float)]
    fitting = [s for s in steps if 0 < s <= most + _DUST and s < current - _DUST]
    return round(max(fitting), 4) if fitting else None
