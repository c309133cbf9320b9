"""How much memory a study lets an engine take: what there is, less the headroom."""

from collections.abc import Mapping

from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB


def whole_bytes(text: str | None) -> int | None:
    """A size out of a record's environment; None where it does not say one."""
    return int(text) if text and text.isdecimal() and int(text) > 0 else None


def memory_bounds(spec: StudySpec, environment: Mapping[str, str]) -> dict[str, float]:
    """Metric to the most that it may be, in bytes; what the machine does not say is left out.

    Args:
        spec: Its limits and its headroom; the smaller bound counts.
        environment: Of a record.
    """
    headroom = {"gpu": spec.headroom.gpu_gib, "host": spec.headroom.host_gib}
    found: dict[str, float] = {}
    for place, free_gib in headroom.items():
        tag = f"{place}_memory_peak_bytes"
        total = whole_bytes(environment.get(f"{place}_memory_bytes"))
        bounds = [] if total is None else [total - free_gib * BYTES_PER_GIB]
        bounds += [x.upper for x in spec.limits if x.metric == tag and x.upper is not None]
        if bounds:
            found[tag] = min(bounds)
    return found
