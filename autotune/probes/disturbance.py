"""Whether something besides the engine slowed the card down while it was measured."""

from collections.abc import Sequence
from typing import Final

from autotune.seams.telemetry import Sample

SLOWDOWNS: Final = {
    0x08: "slowed down by its hardware",
    0x20: "slowed down by the driver for its heat",
    0x40: "slowed down by its hardware for its heat",
    0x80: "slowed down by the power brake",
}
"""Reasons that are no steady state (nvml.h, nvmlClocksEventReason*); a power cap (0x04) is one."""
_ENOUGH: Final = 0.1


def disturbance(timeline: Sequence[Sample], start_ns: int, end_ns: int) -> str | None:
    """What disturbed the card in a tenth of a stretch or more; None for nothing that is known.

    Args:
        timeline: Of the trial; other processes are counted against its samples before the stretch.
        start_ns: First moment of the stretch.
        end_ns: Last one.
    """
    within = [sample for sample in timeline if start_ns <= sample.at_ns <= end_ns]
    reasons = [int(sample.values.get("gpu_throttle_reasons") or 0) for sample in within]
    for bit, words in SLOWDOWNS.items():
        share = sum(bool(reason & bit) for reason in reasons) / max(1, len(reasons))
        if share >= _ENOUGH:
            return f"the card was {words} for {share:.0%} of the time"
    before = _others([sample for sample in timeline if sample.at_ns < start_ns])
    now = _others(within)
    if before and now:
        more = sum(count > min(before) for count in now) / len(now)
        if more >= _ENOUGH:
            return f"another process was on the card for {more:.0%} of the time"
    return None


def _others(samples: Sequence[Sample]) -> list[float]:
    counts = (sample.values.get("gpu_other_processes_count") for sample in samples)
    return [count for count in counts if count is not None]
