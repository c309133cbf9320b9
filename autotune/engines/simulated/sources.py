"""What the simulated machine's instruments show: the keys of the real sources."""

from collections.abc import Mapping
from typing import Final

from autotune.clock import Clock
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.deployer import SimulatedDeployment
from autotune.engines.simulated.server import SimulatedServer
from autotune.units import BYTES_PER_MIB

_DRIVER_MIB: Final = 4.0
"""What NVML shows as used on a card that nobody uses."""
_KEYS: Final = (
    "gpu_memory_used_bytes",
    "gpu_memory_total_bytes",
    "gpu_utilization_ratio",
    "gpu_power_w",
    "gpu_energy_j",
    "gpu_temperature_c",
    "gpu_sm_clock_mhz",
    "gpu_throttle_reasons",
    "gpu_other_processes_count",
    "host_memory_used_bytes",
    "host_memory_total_bytes",
    "host_swap_used_bytes",
    "host_cpu_ratio",
    "shm_used_bytes",
    "engine_memory_bytes",
    "engine_cpu_ratio",
)


class SimulatedMachine:
    """One source for GPU, host and engine.

    Args:
        card: The GPU and its host.
        deployment: What runs on it.
        clock: Of the study.
        host_memory_bytes: Of the machine.
    """

    keys = _KEYS

    def __init__(
        self,
        card: Card,
        deployment: SimulatedDeployment,
        clock: Clock,
        host_memory_bytes: int,
    ) -> None:
        self._card, self._deployment, self._clock = card, deployment, clock
        self._host_memory_bytes = host_memory_bytes
        self._energy_j = 0.0
        self._last_ns = clock.now_ns()

    async def read(self) -> Mapping[str, float | None]:
        """One look."""
        server = self._deployment.server
        up = server is not None and not server.core.is_stopped
        busy = server.core.busy_ratio() if server is not None and up else 0.0
        power = self._power_w(busy)
        memory = self._memory(server if up else None)
        gone = self._deployment.exit_evidence() is not None
        return {
            **memory,
            "gpu_memory_total_bytes": float(self._card.nvml_memory_mib * BYTES_PER_MIB),
            "gpu_utilization_ratio": busy,
            "gpu_power_w": power,
            "gpu_energy_j": self._energy(power, server),
            "gpu_temperature_c": 35.0 + 35.0 * busy,
            "gpu_sm_clock_mhz": None,
            "gpu_throttle_reasons": 0.0,
            "gpu_other_processes_count": 0.0,
            "host_memory_total_bytes": float(self._host_memory_bytes),
            "host_swap_used_bytes": 0.0,
            "host_cpu_ratio": (0.0 if gone else 1.0 + busy) / self._card.host_cpu_count,
            "engine_cpu_ratio": 0.0 if gone else 1.0 + busy,
        }

    def _memory(self, server: SimulatedServer | None) -> dict[str, float | None]:
        truth = self._card.memory
        idle = (_DRIVER_MIB + truth.desktop_mib) * BYTES_PER_MIB
        os_bytes = truth.os_mib * BYTES_PER_MIB
        gone = self._deployment.exit_evidence() is not None
        if server is None:
            starting = 0.0 if gone else truth.engine_host_mib * BYTES_PER_MIB / 2
            return {
                "gpu_memory_used_bytes": idle,
                "host_memory_used_bytes": os_bytes + starting,
                "shm_used_bytes": 0.0,
                "engine_memory_bytes": None if gone else starting,
            }
        plan = server.plan
        used = plan.gpu_busy if server.core.scheduler.counters.iterations else plan.gpu_idle
        engine = float(plan.engine_host + plan.offload_host)
        return {
            "gpu_memory_used_bytes": float(used) + _DRIVER_MIB * BYTES_PER_MIB,
            "host_memory_used_bytes": os_bytes + engine,
            "shm_used_bytes": float(plan.shm),
            "engine_memory_bytes": engine,
        }

    def _power_w(self, busy: float) -> float:
        power = self._card.power_w
        return power.idle + (power.limit - power.idle) * 0.85 * busy

    def _energy(self, power_w: float, server: SimulatedServer | None) -> float:
        """Joules since the start, by the GPU's busy time; NVML counts the same way."""
        now_ns = self._clock.now_ns()
        elapsed_s = (now_ns - self._deployment.started_ns) / 1e9
        idle = self._card.power_w.idle
        busy_s = 0.0 if server is None else server.core.meter.busy_ns / 1e9
        del power_w
        return idle * elapsed_s + (self._card.power_w.limit - idle) * 0.85 * busy_s
