"""GPUs through NVIDIA's management library."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import pynvml

from autotune.seams.deployment import Deployment
from autotune.seams.telemetry import Gpu

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
)


_BRANDS: Final[Mapping[int | None, str]] = {
    pynvml.NVML_BRAND_UNKNOWN: "unknown",
    pynvml.NVML_BRAND_QUADRO: "quadro",
    pynvml.NVML_BRAND_TESLA: "tesla",
    pynvml.NVML_BRAND_NVS: "nvs",
    pynvml.NVML_BRAND_GRID: "grid",
    pynvml.NVML_BRAND_GEFORCE: "geforce",
    pynvml.NVML_BRAND_TITAN: "titan",
    pynvml.NVML_BRAND_NVIDIA_VAPPS: "vapps",
    pynvml.NVML_BRAND_NVIDIA_VPC: "vpc",
    pynvml.NVML_BRAND_NVIDIA_VCS: "vcs",
    pynvml.NVML_BRAND_NVIDIA_VWS: "vws",
    pynvml.NVML_BRAND_NVIDIA_CLOUD_GAMING: "cloudgaming",
    pynvml.NVML_BRAND_QUADRO_RTX: "quadrortx",
    pynvml.NVML_BRAND_NVIDIA_RTX: "nvidiartx",
    pynvml.NVML_BRAND_NVIDIA: "nvidia",
    pynvml.NVML_BRAND_GEFORCE_RTX: "geforcertx",
    pynvml.NVML_BRAND_TITAN_RTX: "titanrtx",
}
"""NVML's numbers to the names that images write into NVIDIA_REQUIRE_CUDA (libnvidia-container)."""


def open_nvml(library: Any = pynvml) -> bool:
    """Start the library; False where there is no driver. May be called again and again."""
    try:
        library.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


def visible_gpus(count: int, setting: str | None, uuids: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Indices of the GPUs that a CUDA program will see, its first one first.

    Args:
        count: GPUs that the driver knows.
        setting: CUDA_VISIBLE_DEVICES; None if it is not set.
        uuids: The GPUs' UUIDs by index; the setting may name them, also shortened.

    As CUDA does (programming guide, environment variables): the list ends at its first entry
    that names nothing.
    """
    if setting is None:
        return tuple(range(count))
    chosen: list[int] = []
    for entry in (part.strip() for part in setting.split(",")):
        named = [i for i, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
        if entry.isdecimal() and int(entry) < count:
            chosen.append(int(entry))
        elif len(named) == 1:
            chosen.append(named[0])
        else:
            break
    return tuple(chosen)


def read_gpus(library: Any = pynvml, *, setting: str | None = None) -> tuple[Gpu, ...]:
    """Every GPU that a CUDA program of this user will see; none where there is no driver.

    Args:
        library: NVML.
        setting: In place of the environment's CUDA_VISIBLE_DEVICES.
    """
    if not open_nvml(library):
        return ()
    if setting is None:
        setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = _asked(library.nvmlDeviceGetCount) or 0
    handles = [_asked(library.nvmlDeviceGetHandleByIndex, i) for i in range(count)]
    uuids = tuple(
        "" if handle is None else _text(_asked(library.nvmlDeviceGetUUID, handle))
        for handle in handles
    )
    driver = _text(_asked(library.nvmlSystemGetDriverVersion))
    cuda = _cuda(library)
    found = []
    for index in visible_gpus(count, setting, uuids):
        handle = handles[index]
        if handle is None:  # fallen off the bus, or not this user's
            continue
        memory = _asked(library.nvmlDeviceGetMemoryInfo, handle)
        capability = _asked(library.nvmlDeviceGetCudaComputeCapability, handle)
        if memory is None or capability is None:  # not a card that one can compute on
            continue
        found.append(
            Gpu(
                index=index,
                name=_text(_asked(library.nvmlDeviceGetName, handle)),
                memory_bytes=int(memory.total),
                compute_capability=(int(capability[0]), int(capability[1])),
                driver=driver,
                uuid=uuids[index],
                reserved_bytes=_reserved_bytes(library, handle),
                power_limit_ratio=_power_limit_ratio(library, handle),
                display_is_on=_display_is_on(library, handle),
                cuda=cuda,
                brand=_BRANDS.get(_asked(library.nvmlDeviceGetBrand, handle), ""),
            )
        )
    return tuple(found)


def _reserved_bytes(library: Any, handle: Any) -> int | None:
    """What the driver keeps for itself, out of NVML's second memory struct (driver 510 and later).

    CUDA's total is NVML's less exactly this: 85,017,493,504 = 85,520,809,984 - 503,316,480 bytes
    on an H100 with driver 580.159.04.
    """
    version = getattr(library, "nvmlMemory_v2", None)
    if version is None:
        return None
    memory = _asked(library.nvmlDeviceGetMemoryInfo, handle, version)
    return None if memory is None else int(memory.reserved)


def _power_limit_ratio(library: Any, handle: Any) -> float | None:
    """Somebody may have set a lower limit than the card's default; both are in milliwatts."""
    limit_mw = _asked(library.nvmlDeviceGetPowerManagementLimit, handle)
    default_mw = _asked(library.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    return None if limit_mw is None or not default_mw else float(limit_mw / default_mw)


def _cuda(library: Any) -> tuple[int, int] | None:
    """Latest CUDA release that the driver is for: NVML tells 13.0 as 13000 (nvml.h)."""
    told = _asked(library.nvmlSystemGetCudaDriverVersion)
    return None if told is None else (told // 1000, told % 1000 // 10)


def _display_is_on(library: Any, handle: Any) -> bool | None:
    """An X server or the like is attached, also where no monitor is (nvml.h)."""
    state = _asked(library.nvmlDeviceGetDisplayActive, handle)
    return None if state is None else bool(state == pynvml.NVML_FEATURE_ENABLED)


class NvmlSource:
    """One GPU.

    Memory is the whole device's, whoever uses it, and `used` includes what the driver reserves
    for itself (NVML's first memory struct): used + free = total, so that a headroom means bytes
    that can still be had.

    Args:
        deployment: Its processes do not count as other processes. None: all of them do.
        index: NVML's number of the GPU; None for the first that CUDA shows this user.
        library: NVML.
    """

    keys = _KEYS

    def __init__(
        self,
        deployment: Deployment | None = None,
        *,
        index: int | None = None,
        library: Any = pynvml,
    ) -> None:
        self._deployment = deployment
        self._index = index
        self._library = library
        self._handle: Any = None
        self._is_absent = False

    async def read(self) -> Mapping[str, float | None]:
        """One look, in a thread, for a busy driver may take its time."""
        if self._is_absent:
            return dict.fromkeys(_KEYS)
        own = self._deployment.pids() if self._deployment is not None else ()
        return await asyncio.to_thread(self._look, frozenset(own))

    def _look(self, own: frozenset[int]) -> dict[str, float | None]:
        handle = self._opened()
        if handle is None:
            return dict.fromkeys(_KEYS)
        nvml = self._library
        memory = _asked(nvml.nvmlDeviceGetMemoryInfo, handle)
        use = _asked(nvml.nvmlDeviceGetUtilizationRates, handle)
        power_mw = _asked(nvml.nvmlDeviceGetPowerUsage, handle)
        energy_mj = _asked(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        return {
            "gpu_memory_used_bytes": None if memory is None else float(memory.used),
            "gpu_memory_total_bytes": None if memory is None else float(memory.total),
            "gpu_utilization_ratio": None if use is None else use.gpu / 100,
            "gpu_power_w": None if power_mw is None else power_mw / 1000,
            "gpu_energy_j": None if energy_mj is None else energy_mj / 1000,
            "gpu_temperature_c": _number(
                nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "gpu_sm_clock_mhz": _number(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            "gpu_throttle_reasons": _number(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
            "gpu_other_processes_count": self._others(handle, own),
        }

    def _opened(self) -> Any:
        if self._handle is None:
            gpus = read_gpus(self._library)
            index = self._index if self._index is not None else (gpus[0].index if gpus else None)
            if index is None:
                self._is_absent = True
                return None
            self._handle = _asked(self._library.nvmlDeviceGetHandleByIndex, index)
        return self._handle

    def _others(self, handle: Any, own: frozenset[int]) -> float | None:
        """Processes on the GPU that are not the deployment's, a desktop's included.

        None where the driver does not say (WSL) or where the deployment's processes cannot be
        told apart from others (their ids are not visible here).
        """
        if self._deployment is not None and not own:
            return None
        nvml = self._library
        compute = _asked(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        graphics = _asked(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        if compute is None or graphics is None:
            return None
        return float(len({process.pid for process in (*compute, *graphics)} - own))


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where this card or driver refuses it or the library lacks it."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _number(question: Callable[..., Any], *arguments: Any) -> float | None:
    answer = _asked(question, *arguments)
    return None if answer is None else float(answer)


def _text(answer: Any) -> str:
    """A string of NVML's: bytes in old releases of the binding."""
    if isinstance(answer, bytes):
        return answer.decode("utf-8", errors="replace")
    return "" if answer is None else str(answer)
