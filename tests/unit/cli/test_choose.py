"""Which engine and deployer a machine gets."""

import pytest

from autotune.cli.choose import DEFAULT_IMAGE, choose
from autotune.errors import DockerUnavailableError, HostError, UsageError
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.study import StudySpec, study_from

WITH_GPU = Hardware(gpus=(Gpu(index=0, name="g", memory_bytes=1, compute_capability=(12, 0)),))
WITHOUT_GPU = Hardware()


def study(**engine: object) -> StudySpec:
    """A study whose engine section holds these fields."""
    return study_from({"engine": engine}, where="test")


def usable() -> None:
    """Docker can be used."""


def unusable() -> None:
    """Docker cannot be used."""
    message = "no Docker engine answers"
    raise DockerUnavailableError(message, hint="start it")


def test_a_gpu_and_docker_give_vllm_in_docker() -> None:
    """With the image of a release that is named, never `latest`."""
    choice = choose(study(), WITH_GPU, require_docker=usable)

    assert (choice.spec.engine.name, choice.spec.engine.deployer) == ("vllm", "docker")
    assert choice.spec.engine.image == DEFAULT_IMAGE
    assert ":latest" not in DEFAULT_IMAGE
    assert choice.banner == ""


def test_a_gpu_without_docker_is_an_error_that_says_what_to_do() -> None:
    """Nothing is simulated behind the owner's back."""
    with pytest.raises(DockerUnavailableError) as caught:
        choose(study(), WITH_GPU, require_docker=unusable)

    assert caught.value.hint


def test_no_gpu_gives_the_simulated_engine_announced() -> None:
    """Docker is not even asked for."""
    choice = choose(study(), WITHOUT_GPU, require_docker=unusable)

    assert (choice.spec.engine.name, choice.spec.engine.deployer) == ("simulated", "simulated")
    assert "SIMULATED" in choice.banner


def test_a_simulated_engine_that_was_asked_for_is_announced_too() -> None:
    """Also on a machine that has a GPU."""
    choice = choose(study(name="simulated"), WITH_GPU, require_docker=unusable)

    assert "SIMULATED" in choice.banner
    assert "no NVIDIA GPU" not in choice.banner


def test_a_named_deployer_means_a_real_engine() -> None:
    """VLLM on the CPU, as a process."""
    choice = choose(study(deployer="process"), WITHOUT_GPU, require_docker=unusable)

    assert (choice.spec.engine.name, choice.spec.engine.deployer) == ("vllm", "process")


def test_vllm_without_gpu_and_image_is_a_process() -> None:
    """The engine that is installed on this machine."""
    choice = choose(study(name="vllm"), WITHOUT_GPU, require_docker=unusable)

    assert choice.spec.engine.deployer == "process"


def test_a_container_that_shall_get_a_gpu_needs_one() -> None:
    """Said before an image of 20 GB is fetched, with all the ways out."""
    with pytest.raises(HostError) as caught:
        choose(study(deployer="docker"), WITHOUT_GPU, require_docker=usable)

    assert "--engine simulated" in caught.value.hint


def test_an_image_means_docker() -> None:
    """Its own image is kept; one for the CPU says that it needs no GPU."""
    wanted = study(name="vllm", image="mine:1", gpus=False)

    choice = choose(wanted, WITHOUT_GPU, require_docker=usable)

    assert (choice.spec.engine.deployer, choice.spec.engine.image) == ("docker", "mine:1")


@pytest.mark.parametrize(("name", "deployer"), [("simulated", "docker"), ("vllm", "simulated")])
def test_what_does_not_go_together_is_refused(name: str, deployer: str) -> None:
    """With a hint."""
    with pytest.raises(UsageError) as caught:
        choose(study(name=name, deployer=deployer), WITH_GPU, require_docker=usable)

    assert caught.value.hint
