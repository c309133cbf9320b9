"""Driver against image: NVIDIA's compatibility rules, on machines that are made up.

The demands are those that published images carry (vllm/vllm-openai, CUDA 12.9 and 13.0), shortened.
"""

from dataclasses import replace
from typing import Any

import pytest

from autotune.cli.doctor import checks
from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_driver import is_met
from autotune.cli.doctor_facts import Facts
from autotune.deployers.docker_facts import DockerFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.study import study_from

GEFORCE = Gpu(index=0, name="RTX 5070", memory_bytes=12 * 1024**3, compute_capability=(12, 0),
              driver="580.95.05", cuda=(13, 0), brand="geforce")  # fmt: skip
DATA_CENTER = replace(GEFORCE, name="H100", compute_capability=(9, 0), brand="tesla")
IMAGE_12_9 = {
    "CUDA_VERSION": "12.9.1",
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.9 brand=unknown,driver>=535,driver<536 "
    "brand=tesla,driver>=535,driver<536 brand=tesla,driver>=570,driver<571",
}
IMAGE_13 = {
    "CUDA_VERSION": "13.0.2",
    "NVIDIA_REQUIRE_CUDA": "cuda>=13.0 brand=tesla,driver>=535,driver<536 "
    "brand=tesla,driver>=570,driver<571",
}
OLD = {"driver": "570.124.06", "cuda": (12, 8)}


def driver_of(
    gpu: Gpu,
    image: dict[str, str],
    *,
    deployer: str = "docker",
    is_wsl: bool = False,
    env: dict[str, str] | None = None,
) -> Check:
    """What `doctor` says of a card's driver."""
    facts = Facts(
        hardware=Hardware(gpus=(gpu,), is_wsl=is_wsl, host_memory_bytes=94 * 1024**3),
        deployer=deployer,
        docker=DockerFacts(release="28", runtimes=("nvidia",), data_root="/d", image_bytes=1,
                           image_env=image),
    )  # fmt: skip
    engine: dict[str, Any] = {"image": "vllm/vllm-openai:v0.33.0", "env": env or {}}
    found = checks(facts, study_from({"engine": engine}, where="test"))
    (check,) = [check for check in found if check.name == "driver"]
    return check


@pytest.mark.parametrize("image", [IMAGE_12_9, IMAGE_13])
def test_a_driver_as_new_as_the_image_or_newer_runs_it(image: dict[str, str]) -> None:
    """With the figures of both, so that one can see why."""
    check = driver_of(GEFORCE, image)
    assert (check.state, check.consequence, check.mend) == (State.OK, "", "")
    assert "580.95.05, for CUDA 13.0" in check.found


def test_an_image_of_a_newer_major_cuda_is_refused_with_the_driver_that_mends_it() -> None:
    """580 is the first branch for CUDA 13; the open modules are what an RTX 50 needs."""
    check = driver_of(replace(GEFORCE, **OLD), IMAGE_13)
    assert check.state is State.MISSING
    assert "unsatisfied condition: cuda>=13.0" in check.consequence
    assert "sudo apt install nvidia-driver-580-open" in check.mend


def test_a_geforce_of_an_older_minor_is_refused_by_the_image_that_lists_other_cards() -> None:
    """NVIDIA's list of older drivers for CUDA 12.9 holds data-center cards, and no GeForce."""
    check = driver_of(replace(GEFORCE, **OLD), IMAGE_12_9)
    assert check.state is State.MISSING
    assert "unsatisfied condition: cuda>=12.9" in check.consequence


def test_a_card_that_the_image_lists_runs_an_older_minor_with_a_warning() -> None:
    """Minor version compatibility does not cover kernels compiled from PTX."""
    check = driver_of(replace(DATA_CENTER, **OLD), IMAGE_12_9)
    assert check.state is State.WARNING
    assert "unsupported toolchain" in check.consequence
    assert check.mend


def test_a_card_that_the_image_lists_runs_an_older_major_by_forward_compatibility() -> None:
    """Which vLLM's images switch on only when they are asked to."""
    check = driver_of(replace(DATA_CENTER, **OLD), IMAGE_13)
    assert check.state is State.WARNING
    assert "VLLM_ENABLE_CUDA_COMPATIBILITY=1" in check.consequence


def test_a_demand_that_was_switched_off_refuses_nothing() -> None:
    """An older minor then starts; an older major still has no driver that runs it."""
    old = replace(GEFORCE, **OLD)
    off = {"NVIDIA_DISABLE_REQUIRE": "1"}
    assert driver_of(old, IMAGE_12_9, env=off).state is State.WARNING
    assert driver_of(old, {**IMAGE_12_9, **off}).state is State.WARNING
    assert driver_of(old, IMAGE_13, env=off).state is State.MISSING


def test_an_image_that_demands_nothing_is_judged_by_its_cuda() -> None:
    """CUDA_VERSION alone tells what it was built for."""
    old = replace(GEFORCE, **OLD)
    assert driver_of(old, {"CUDA_VERSION": "12.9.1"}).state is State.WARNING
    assert driver_of(old, {"CUDA_VERSION": "13.0.2"}).state is State.MISSING
    assert driver_of(old, {"CUDA_VERSION": "12.8.1"}).state is State.OK


@pytest.mark.parametrize(
    ("gpu", "image", "deployer"),
    [
        (GEFORCE, {}, "docker"),
        (GEFORCE, {"CUDA_VERSION": "latest"}, "docker"),
        (replace(GEFORCE, cuda=None), IMAGE_13, "docker"),
        (replace(GEFORCE, **OLD), IMAGE_13, "process"),
    ],
)
def test_what_is_not_known_is_not_judged(gpu: Gpu, image: dict[str, str], deployer: str) -> None:
    """No image yet, no CUDA in it, a driver that does not tell, no container at all."""
    check = driver_of(gpu, image, deployer=deployer)
    assert check.state is State.OK
    assert "image" not in check.found


def test_under_wsl_the_driver_is_windows() -> None:
    """No package of the distribution mends it."""
    assert "Windows" in driver_of(replace(GEFORCE, **OLD), IMAGE_13, is_wsl=True).mend


def test_a_cuda_that_nobody_knew_when_this_was_written_is_named_itself() -> None:
    """And no branch is made up for it."""
    mend = driver_of(GEFORCE, {"CUDA_VERSION": "14.1.0"}).mend
    assert "CUDA 14.1" in mend
    assert "apt" not in mend


@pytest.mark.parametrize(
    ("demand", "holds"),
    [
        ("cuda>=13.0", True),
        ("cuda>=13.1", False),
        ("cuda>13.0", False),
        ("driver>=580.95.05", True),
        ("driver>=580.95.06", False),
        ("driver>=580,driver<581", True),
        ("driver=580.95.5", True),
        ("brand=geforce", True),
        ("brand!=geforce", False),
        ("brand=tesla,driver>=535 arch>=12.0", True),
        ("arch<12.0", False),
        ("cuda>=x", False),
        ("moon>=1", False),
        ("", False),
    ],
)
def test_a_demand_is_alternatives_of_conditions(demand: str, holds: bool) -> None:
    """A space is "or", a comma is "and" (container toolkit, "Constraints")."""
    assert is_met(demand, GEFORCE) is holds


def test_what_a_card_does_not_tell_is_not_met() -> None:
    """A driver that keeps its brand to itself is on no list."""
    assert not is_met("brand=tesla", replace(GEFORCE, brand=""))
    assert not is_met("cuda>=1.0", replace(GEFORCE, cuda=None))
