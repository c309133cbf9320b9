"""What of the machine's memory must not be touched, and whether a sample touches it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from autotune.seams.telemetry import Hardware, Sample
from autotune.units import BYTES_PER_GIB

MAX_SWAP_GROWTH_BYTES: Final = BYTES_PER_GIB
MAX_PRESSURE_RATIO: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Memory that must stay free; None where there is no such bound.

    Attributes:
        gpu_used_max_bytes: Of the whole GPU.
        host_available_min_bytes: What `free` calls available.
        swap_used_max_bytes: Of the whole host, what was in use before included.
        pressure_max_ratio: Share of the last 10 s in which all work waited for memory.
    """

    gpu_used_max_bytes: float | None = None
    host_available_min_bytes: float | None = None
    swap_used_max_bytes: float | None = None
    pressure_max_ratio: float | None = MAX_PRESSURE_RATIO

    @classmethod
    def of(
        cls,
        hardware: Hardware,
        *,
        gpu_headroom_bytes: float,
        host_reserve_bytes: float,
        before: Sample | None = None,
        swap_growth_bytes: float = MAX_SWAP_GROWTH_BYTES,
    ) -> "Bounds":
        """Bounds of a machine.

        Args:
            hardware: The machine; without a GPU there is no bound for one.
            gpu_headroom_bytes: To stay free on the GPU.
            host_reserve_bytes: To stay available on the host.
            before: A look before the trial: swap that was in use then is nobody's fault.
            swap_growth_bytes: How much more swap may come into use.
        """
        gpu = hardware.gpu
        swap = None if before is None else before.values.get("host_swap_used_bytes")
        return cls(
            gpu_used_max_bytes=None if gpu is None else gpu.memory_bytes - gpu_headroom_bytes,
            host_available_min_bytes=host_reserve_bytes,
            swap_used_max_bytes=None if swap is None else swap + swap_growth_bytes,
        )


def breach(sample: Sample, bounds: Bounds) -> str | None:
    """The bound that a sample breaks, in one line; None if it breaks none.

    A reading that is missing breaks nothing.
    """
    for check in _CHECKS:
        broken = check(sample.values, bounds)
        if broken is not None:
            return broken
    return None


def _gpu(values: Mapping[str, float | None], bounds: Bounds) -> str | None:
    used, most = values.get("gpu_memory_used_bytes"), bounds.gpu_used_max_bytes
    if used is None or most is None or used <= most:
        return None
    return f"GPU memory in use is {_gib(used)}, over the bound of {_gib(most)}"


def _host(values: Mapping[str, float | None], bounds: Bounds) -> str | None:
    used, total = values.get("host_memory_used_bytes"), values.get("host_memory_total_bytes")
    least = bounds.host_available_min_bytes
    if used is None or total is None or least is None or total - used >= least:
        return None
    return f"host memory available is {_gib(total - used)}, under the reserve of {_gib(least)}"


def _swap(values: Mapping[str, float | None], bounds: Bounds) -> str | None:
    used, most = values.get("host_swap_used_bytes"), bounds.swap_used_max_bytes
    if used is None or most is None or used <= most:
        return None
    return f"swap in use is {_gib(used)}, over the bound of {_gib(most)}: the host pages out"


def _pressure(values: Mapping[str, float | None], bounds: Bounds) -> str | None:
    stalled, most = values.get("host_memory_pressure_ratio"), bounds.pressure_max_ratio
    if stalled is None or most is None or stalled <= most:
        return None
    return f"all work waited for memory {stalled:.0%} of the last 10 s, over {most:.0%}"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / BYTES_PER_GIB:.2f} GiB"


_CHECKS: Final[tuple[Callable[[Mapping[str, float | None], Bounds], str | None], ...]] = (
    _gpu,
    _host,
    _swap,
    _pressure,
)
