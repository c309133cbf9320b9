"""GPUs as NVML tells them."""

import pynvml
import pytest

from autotune.clock import MonotonicClock
from autotune.telemetry.nvml import NvmlSource, read_gpus, visible_gpus
from tests.support.fake_nvml import GIB, FakeCard, FakeNvml
from tests.support.still import StillDeployment

CLOCK = MonotonicClock()
A, B = "GPU-aaaa1111-x", "GPU-aaaa2222-x"


def test_figures_have_their_units() -> None:
    """Milliwatts, millijoules and percent become W, J and a ratio."""
    values = CLOCK.run(NvmlSource(library=FakeNvml()).read())
    assert values == {
        "gpu_memory_used_bytes": 3 * GIB,
        "gpu_memory_total_bytes": 12 * GIB,
        "gpu_utilization_ratio": 0.4,
        "gpu_power_w": 151.5,
        "gpu_energy_j": 2000.5,
        "gpu_temperature_c": 55,
        "gpu_sm_clock_mhz": 2587,
        "gpu_throttle_reasons": 4,
        "gpu_other_processes_count": 3,
    }


@pytest.mark.parametrize(
    ("function", "key"),
    [
        ("nvmlDeviceGetMemoryInfo", "gpu_memory_used_bytes"),
        ("nvmlDeviceGetUtilizationRates", "gpu_utilization_ratio"),
        ("nvmlDeviceGetPowerUsage", "gpu_power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", "gpu_energy_j"),
        ("nvmlDeviceGetTemperature", "gpu_temperature_c"),
        ("nvmlDeviceGetClockInfo", "gpu_sm_clock_mhz"),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "gpu_throttle_reasons"),
        ("nvmlDeviceGetComputeRunningProcesses", "gpu_other_processes_count"),
        ("nvmlDeviceGetGraphicsRunningProcesses", "gpu_other_processes_count"),
    ],
)
def test_a_refused_question_is_none_alone(function: str, key: str) -> None:
    """What a card does not tell is None, and the rest is read."""
    values = CLOCK.run(NvmlSource(index=0, library=FakeNvml(refused={function})).read())
    missing = {name for name, value in values.items() if value is None}
    assert key in missing
    assert missing <= {key, "gpu_memory_total_bytes"}


def test_what_the_driver_keeps_is_read_from_the_second_memory_struct() -> None:
    """None where the binding or the driver is too old to tell."""
    told = FakeNvml(cards=[FakeCard(reserved=300 * 1024**2)])
    assert [gpu.reserved_bytes for gpu in read_gpus(told, setting="0")] == [300 * 1024**2]
    old = FakeNvml(nvmlMemory_v2=None)
    assert [gpu.reserved_bytes for gpu in read_gpus(old, setting="0")] == [None]


def test_the_power_limit_is_told_against_the_cards_own() -> None:
    """200 of 250 W; a card that has no limits tells none."""
    (limited,) = read_gpus(FakeNvml(), setting="0")
    assert limited.power_limit_ratio == 0.8
    refused = FakeNvml(refused={"nvmlDeviceGetPowerManagementDefaultLimit"})
    (untold,) = read_gpus(refused, setting="0")
    assert untold.power_limit_ratio is None


def test_a_display_on_a_card_is_told() -> None:
    """One that is on, one that is off, one that a driver does not tell of."""
    cards = [FakeCard(display_is_on=True), FakeCard()]
    told = read_gpus(FakeNvml(cards=cards), setting="0,1")
    assert [gpu.display_is_on for gpu in told] == [True, False]
    (untold,) = read_gpus(FakeNvml(refused={"nvmlDeviceGetDisplayActive"}), setting="0")
    assert untold.display_is_on is None


def test_a_card_that_gives_no_handle_is_left_out_and_the_others_are_read() -> None:
    """One that has fallen off the bus, say."""
    cards = [FakeCard(name="lost", is_lost=True), FakeCard(name="fine")]
    assert [gpu.name for gpu in read_gpus(FakeNvml(cards=cards), setting="0,1")] == ["fine"]


def test_other_processes() -> None:
    """The deployment's own do not count; where they cannot be told, the number is unknown."""

    def others(*own: int) -> float | None:
        source = NvmlSource(StillDeployment(own), library=FakeNvml())
        return CLOCK.run(source.read())["gpu_other_processes_count"]

    assert others(41) == 2
    assert others(41, 42) == 1
    assert others() is None


def test_cards_as_hardware() -> None:
    """Every field of a card is filled, from strings and from bytes."""
    (gpu,) = read_gpus(FakeNvml())
    assert (gpu.index, gpu.name, gpu.memory_bytes) == (0, "NVIDIA GeForce RTX 5070", 12 * GIB)
    assert (gpu.compute_capability, gpu.driver) == ((12, 0), "580.95.05")
    assert gpu.uuid.startswith("GPU-")


def test_no_driver_is_no_gpu() -> None:
    """A machine without a driver has no GPUs, and that is no error."""
    assert read_gpus(FakeNvml(cards=None)) == ()


def test_a_card_that_cannot_compute_is_left_out() -> None:
    """A card without a compute capability is none for us."""
    assert read_gpus(FakeNvml(refused={"nvmlDeviceGetCudaComputeCapability"})) == ()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, (0, 1)),
        ("1", (1,)),
        ("1,0", (1, 0)),
        (" 1 , 0 ", (1, 0)),
        (B, (1,)),
        ("GPU-aaaa2", (1,)),
        ("GPU-aaaa", ()),  # names two
        ("0,7,1", (0,)),  # ends at the first that names nothing
        ("-1", ()),
        ("", ()),
        ("none", ()),
    ],
)
def test_cuda_visible_devices(setting: str | None, expected: tuple[int, ...]) -> None:
    """The list is read as the CUDA programming guide says."""
    assert visible_gpus(2, setting, (A, B)) == expected


def test_the_first_visible_card_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA_VISIBLE_DEVICES the source looks at the card that the engine gets."""
    cards = [FakeCard(uuid=A, used=1 * GIB), FakeCard(uuid=B, used=7 * GIB)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    values = CLOCK.run(NvmlSource(library=FakeNvml(cards=cards)).read())
    assert values["gpu_memory_used_bytes"] == 7 * GIB
    (gpu,) = read_gpus(FakeNvml(cards=cards))
    assert gpu.index == 1


def test_a_driver_tells_its_cuda_and_a_card_its_brand() -> None:
    """By the words that an image's demands are made of; a driver may keep both to itself."""
    cards = [FakeCard(), FakeCard(brand=pynvml.NVML_BRAND_TESLA), FakeCard(brand=99)]
    told = read_gpus(FakeNvml(cards=cards), setting="0,1,2")
    assert [gpu.cuda for gpu in told] == [(13, 0)] * 3
    assert [gpu.brand for gpu in told] == ["geforce", "tesla", ""]
    refused = {"nvmlSystemGetCudaDriverVersion", "nvmlDeviceGetBrand"}
    (untold,) = read_gpus(FakeNvml(refused=refused), setting="0")
    assert (untold.cuda, untold.brand) == (None, "")
