"""Machine to trial: what the GPU, the host, the container and the engine's metrics say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as the driver describes it.

    Attributes:
        memory_bytes: All of it, as NVML counts.
        reserved_bytes: What the driver keeps of it: CUDA sees that much less. None: not told.
        power_limit_ratio: Set limit / the card's own default. None: not told.
        display_is_on: Whether a desktop draws on it. None: not told.
        cuda: Latest CUDA release that the driver is for, as (13, 0). None: not told.
        brand: As the container toolkit calls it ("geforce", "tesla"); empty: not told.
    """

    index: int
    name: str
    memory_bytes: int
    compute_capability: tuple[int, int]
    driver: str = ""
    uuid: str = ""
    reserved_bytes: int | None = None
    power_limit_ratio: float | None = None
    display_is_on: bool | None = None
    cuda: tuple[int, int] | None = None
    brand: str = ""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine, as found at the start of a study (or as declared for a simulated one).

    Attributes:
        host: Tells one machine from another of its kind; empty for a simulated one.
    """

    gpus: tuple[Gpu, ...] = ()
    cpu_count: int = 1
    host_memory_bytes: int = 0
    shm_bytes: int = 0
    is_wsl: bool = False
    platform: str = ""
    host: str = ""

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that is tuned: the first."""
        return self.gpus[0] if self.gpus else None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at every source; keys as declared by the sources, None is "cannot be read".

    Keys: gpu_memory_used_bytes, gpu_memory_total_bytes, gpu_utilization_ratio, gpu_power_w,
    gpu_energy_j, gpu_temperature_c, gpu_sm_clock_mhz, gpu_throttle_reasons (bit mask),
    gpu_other_processes_count, host_memory_used_bytes, host_memory_total_bytes,
    host_memory_pressure_ratio, host_swap_used_bytes, host_cpu_ratio, shm_used_bytes,
    engine_memory_bytes, engine_cpu_ratio, kv_usage_ratio, requests_running_count,
    requests_waiting_count, preemptions_count.
    """

    at_ns: int
    values: Mapping[str, float | None] = field(default_factory=dict)


class Source(Protocol):
    """One thing that can be looked at again and again."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it gives; always the same keys."""
        ...

    async def read(self) -> Mapping[str, float | None]:
        """One look, within a fraction of a second. What is missing is None, never 0."""
        ...
