"""NVIDIA's management library with cards of our own; any question can be refused."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 1024**3


@dataclass
class FakeCard:
    """A card, with the figures that its driver gives."""

    name: str = "NVIDIA GeForce RTX 5070"
    uuid: str = "GPU-0a1b2c3d-0000-0000-0000-000000000000"
    capability: tuple[int, int] = (12, 0)
    total: int = 12 * GIB
    used: int = 3 * GIB
    reserved: int = GIB // 4
    is_lost: bool = False
    utilization: int = 40
    power_mw: int = 151_500
    power_limit_mw: int = 200_000
    default_power_limit_mw: int = 250_000
    energy_mj: int = 2_000_500
    temperature: int = 55
    sm_clock: int = 2587
    throttle: int = 0x4
    compute_pids: tuple[int, ...] = (41, 42)
    graphics_pids: tuple[int, ...] = (42, 900)
    display_is_on: bool = False
    brand: int = pynvml.NVML_BRAND_GEFORCE


@dataclass
class FakeNvml:
    """The functions that autotune calls.

    Attributes:
        cards: None for a machine without a driver.
        refused: Names of functions that this driver or card does not support.
    """

    cards: list[FakeCard] | None = field(default_factory=lambda: [FakeCard()])
    refused: set[str] = field(default_factory=set)
    NVML_TEMPERATURE_GPU: int = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_SM: int = pynvml.NVML_CLOCK_SM
    nvmlMemory_v2: int | None = pynvml.nvmlMemory_v2  # noqa: N815 - None: an old binding

    def __getattribute__(self, name: str) -> Any:
        """A function, unless it is refused."""
        if name.startswith("nvml") and name in object.__getattribute__(self, "refused"):
            return _refuse
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        """Load the driver's library."""
        if self.cards is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Cards."""
        return len(self.cards or ())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:  # noqa: N802
        """The card is its own handle."""
        card = (self.cards or [])[index]
        return _refuse() if card.is_lost else card

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        """Of the driver."""
        return "580.95.05"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802
        """CUDA 13.0."""
        return 13_000

    def nvmlDeviceGetBrand(self, card: FakeCard) -> int:  # noqa: N802
        """A number of nvml.h."""
        return card.brand

    def nvmlDeviceGetName(self, card: FakeCard) -> bytes:  # noqa: N802
        """Bytes, as old releases of the binding give."""
        return card.name.encode()

    def nvmlDeviceGetUUID(self, card: FakeCard) -> str:  # noqa: N802
        """Its UUID."""
        return card.uuid

    def nvmlDeviceGetCudaComputeCapability(self, card: FakeCard) -> tuple[int, int]:  # noqa: N802
        """Major and minor."""
        return card.capability

    def nvmlDeviceGetMemoryInfo(  # noqa: N802
        self, card: FakeCard, version: int | None = None
    ) -> SimpleNamespace:
        """The first struct: used + free = total; the second one names what is reserved."""
        free = card.total - card.used
        if version is None:
            return SimpleNamespace(total=card.total, used=card.used, free=free)
        return SimpleNamespace(
            total=card.total, used=card.used - card.reserved, free=free, reserved=card.reserved
        )

    def nvmlDeviceGetUtilizationRates(self, card: FakeCard) -> SimpleNamespace:  # noqa: N802
        """In percent."""
        return SimpleNamespace(gpu=card.utilization, memory=0)

    def nvmlDeviceGetDisplayActive(self, card: FakeCard) -> int:  # noqa: N802
        """1 where something draws."""
        return int(card.display_is_on)

    def nvmlDeviceGetPowerManagementLimit(self, card: FakeCard) -> int:  # noqa: N802
        """Milliwatts, as it is set."""
        return card.power_limit_mw

    def nvmlDeviceGetPowerManagementDefaultLimit(self, card: FakeCard) -> int:  # noqa: N802
        """Milliwatts, as the card comes."""
        return card.default_power_limit_mw

    def nvmlDeviceGetPowerUsage(self, card: FakeCard) -> int:  # noqa: N802
        """In milliwatts."""
        return card.power_mw

    def nvmlDeviceGetTotalEnergyConsumption(self, card: FakeCard) -> int:  # noqa: N802
        """In millijoules."""
        return card.energy_mj

    def nvmlDeviceGetTemperature(self, card: FakeCard, sensor: int) -> int:  # noqa: N802
        """In degrees."""
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return card.temperature

    def nvmlDeviceGetClockInfo(self, card: FakeCard, domain: int) -> int:  # noqa: N802
        """In MHz."""
        assert domain == pynvml.NVML_CLOCK_SM
        return card.sm_clock

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: FakeCard) -> int:  # noqa: N802
        """A bit mask."""
        return card.throttle

    def nvmlDeviceGetComputeRunningProcesses(self, card: FakeCard) -> list[Any]:  # noqa: N802
        """Processes that compute."""
        return [SimpleNamespace(pid=pid) for pid in card.compute_pids]

    def nvmlDeviceGetGraphicsRunningProcesses(self, card: FakeCard) -> list[Any]:  # noqa: N802
        """Processes that draw."""
        return [SimpleNamespace(pid=pid) for pid in card.graphics_pids]


def _refuse(*_arguments: object) -> Any:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
