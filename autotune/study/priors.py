"""What is known of every configuration before a trial, in the sampler's words."""

from collections.abc import Callable, Mapping

from autotune.records import Configuration
from autotune.seams.engine import Screening
from autotune.study.surrogate.model import Prior
from autotune.units import gib_from_bytes

CONTEXT = "context_capacity_tokens"


def screening_prior(
    screen: Callable[[Configuration], Screening],
    *,
    gpu_bound_bytes: float | None = None,
    host_bound_bytes: float | None = None,
) -> Prior:
    """Context capacity and memory margins, from the engine's memory model.

    What the memory model learnt from trials is taken off again: the sampler learns the difference
    to its trials itself, and a prior that moved meanwhile would look like noise.

    Args:
        screen: The runner's verdict before a start.
        gpu_bound_bytes: Most GPU memory that may be in use: the study's headroom.
        host_bound_bytes: The same for the host.
    """

    def predict(configuration: Configuration) -> dict[str, float] | None:
        screening = screen(configuration)
        figures = screening.predicted
        found: dict[str, float] = {}
        tokens = figures.get("kv_cache_tokens")
        if tokens is not None:
            found[CONTEXT] = tokens * _share_before_learning(figures)
        host, used = screening.host_margin_gib, figures.get("host_memory_bytes")
        if used is not None and host_bound_bytes is not None:
            over = gib_from_bytes(host_bound_bytes - used)
            host = over if host is None else min(host, over)
        used = figures.get("gpu_memory_bytes")
        headroom = None
        if used is not None and gpu_bound_bytes is not None:
            headroom = gib_from_bytes(gpu_bound_bytes - used)
        margins = {
            "gpu_margin_gib": screening.gpu_margin_gib,
            "gpu_headroom_gib": headroom,
            "host_margin_gib": host,
        }
        found |= {name: margin for name, margin in margins.items() if margin is not None}
        return found or None

    return predict


def combined(*priors: Prior) -> Prior:
    """What the first prior does not say, the next one may."""

    def predict(configuration: Configuration) -> dict[str, float] | None:
        found: dict[str, float] = {}
        for prior in reversed(priors):
            found |= prior(configuration) or {}
        return found or None

    return predict


def _share_before_learning(figures: Mapping[str, float]) -> float:
    """KV bytes as first predicted over those predicted now."""
    now, correction = figures.get("kv_cache_bytes"), figures.get("kv_correction_bytes")
    if not now or now <= 0 or correction is None:
        return 1.0
    return max(0.0, now - correction) / now
