"""Verdicts of `autotune doctor` on machines that are made up."""

from dataclasses import replace

from autotune.cli.doctor import Check, Facts, State, checks
from autotune.deployers.docker_facts import DockerFacts
from autotune.errors import DockerUnavailableError
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.study import study_from

GIB = 1024**3
CARD = Gpu(index=0, name="RTX 5070", memory_bytes=12 * GIB, compute_capability=(12, 0),
           driver="580")  # fmt: skip
READY = Facts(
    hardware=Hardware(gpus=(CARD,), host_memory_bytes=94 * GIB, shm_bytes=47 * GIB),
    docker=DockerFacts(release="28", runtimes=("nvidia", "runc"), data_root="/d", image_bytes=1),
    gpu_processes=0,
    power_limit_ratio=1.0,
    free_bytes=(("images", 100 * GIB), ("weights", 100 * GIB), ("results", 100 * GIB)),
    has_token=True,
)
SPEC = study_from({"engine": {"image": "vllm/vllm-openai:v0.33.0"}}, where="test")


def verdict(facts: Facts, name: str) -> Check:
    """The one check of a name."""
    (found,) = [check for check in checks(facts, SPEC) if check.name == name]
    return found


def test_a_machine_that_has_everything_is_ready() -> None:
    """Every line is ok, and no line asks for anything."""
    found = checks(READY, SPEC)

    assert len(found) >= 12
    assert {check.state for check in found} == {State.OK}
    assert not any(check.consequence or check.mend for check in found)


def test_whatever_is_not_ok_says_what_follows_and_what_mends_it() -> None:
    """A machine that lacks all there is to lack."""
    bad = Facts(
        hardware=Hardware(host_memory_bytes=8 * GIB, is_wsl=True,
                          gpus=(replace(CARD, compute_capability=(6, 1), driver=""),)),
        docker=DockerFacts(release="28", runtimes=("runc",), data_root="/d"),
        memlock_bytes=65536,
        gpu_processes=2,
        power_limit_ratio=0.7,
        free_bytes=(("images", GIB), ("weights", GIB), ("results", 0)),
        port_error="port 8000 is in use",
    )  # fmt: skip

    troubles = [check for check in checks(bad, SPEC) if check.state is not State.OK]

    assert len(troubles) >= 12
    for check in troubles:
        if check.name != "driver":
            assert check.consequence, check
            assert check.mend, check


def test_docker_that_cannot_be_used_hands_on_its_own_hint() -> None:
    """With a GPU it is missing, without one only a warning."""
    error = DockerUnavailableError("no rights on the socket", hint="usermod")
    facts = replace(READY, docker=None, docker_error=error)
    without_gpu = replace(facts, hardware=replace(facts.hardware, gpus=()))

    assert verdict(facts, "Docker").state is State.MISSING
    assert verdict(facts, "Docker").mend == "usermod"
    assert verdict(without_gpu, "Docker").state is State.WARNING


def test_an_image_that_is_not_there_names_the_command_that_fetches_it() -> None:
    """The very image of the study."""
    docker = DockerFacts(release="28", runtimes=("nvidia",), data_root="/d")

    assert verdict(replace(READY, docker=docker), "image").mend == (
        "docker pull vllm/vllm-openai:v0.33.0"
    )


def test_a_display_on_the_gpu_is_noticed() -> None:
    """Another process takes memory and time."""
    check = verdict(replace(READY, gpu_processes=1), "other processes on the GPU")

    assert check.state is State.WARNING
