"""Verdicts of `autotune doctor` on machines that are made up."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from autotune.cli.commands.doctor import show
from autotune.cli.doctor import checks
from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_facts import Facts, deployer_of
from autotune.deployers.docker_facts import DockerFacts
from autotune.errors import DockerUnavailableError, ModelError
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.study import study_from

GIB = 1024**3
CARD = Gpu(index=0, name="RTX 5070", memory_bytes=12 * GIB, compute_capability=(12, 0),
           driver="580", power_limit_ratio=1.0)  # fmt: skip
READY = Facts(
    hardware=Hardware(gpus=(CARD,), host_memory_bytes=94 * GIB, shm_bytes=47 * GIB),
    docker=DockerFacts(release="28", runtimes=("nvidia", "runc"), data_root="/d", image_bytes=1),
    gpu_processes=0,
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
                          gpus=(replace(CARD, compute_capability=(6, 1), driver="",
                                       power_limit_ratio=0.7),)),
        docker=DockerFacts(release="28", runtimes=("runc",), data_root="/d"),
        gpu_processes=2,
        free_bytes=(("images", GIB), ("weights", GIB), ("results", 0)),
        port_error="port 8000 is in use",
    )  # fmt: skip

    troubles = [check for check in checks(bad, SPEC) if check.state is not State.OK]

    assert len(troubles) >= 12
    for check in troubles:
        assert check.consequence, check
        assert check.mend, check


def test_docker_that_cannot_be_used_hands_on_its_own_hint() -> None:
    """Missing where the study starts containers, a warning where it starts processes."""
    error = DockerUnavailableError("no rights on the socket", hint="usermod")
    facts = replace(READY, docker=None, docker_error=error)

    assert verdict(facts, "Docker").state is State.MISSING
    assert verdict(facts, "Docker").mend == "usermod"
    assert verdict(replace(facts, deployer="process"), "Docker").state is State.WARNING


@pytest.mark.parametrize(
    ("engine", "deployer", "state"),
    [
        ({"name": "vllm", "deployer": "docker"}, "docker", State.MISSING),
        ({"name": "vllm", "deployer": "docker", "gpus": False}, "docker", State.WARNING),
        ({"name": "vllm", "deployer": "process"}, "process", State.WARNING),
        ({}, "simulated", State.WARNING),
        ({"name": "simulated"}, "simulated", State.OK),
    ],
)
def test_a_machine_without_a_gpu_is_judged_by_the_study(
    engine: dict[str, Any], deployer: str, state: State
) -> None:
    """It is missing exactly where `autotune study` would refuse."""
    spec = study_from({"engine": engine}, where="test")
    hardware = replace(READY.hardware, gpus=())
    assert deployer_of(spec, hardware) == deployer
    facts = replace(READY, hardware=hardware, deployer=deployer)
    (check,) = [check for check in checks(facts, spec) if check.name == "GPU"]
    assert check.state is state


def test_a_study_of_processes_needs_the_program() -> None:
    """Not the image, nor the container toolkit."""
    spec = study_from({"engine": {"name": "vllm", "deployer": "process"}}, where="test")
    bare = replace(READY, deployer="process", docker=None)
    lacking = {c.name for c in checks(bare, spec) if c.state is State.MISSING}
    assert lacking == {"engine"}
    whole = replace(bare, program="/opt/vllm/bin/vllm")
    assert not [c for c in checks(whole, spec) if c.state is State.MISSING]


def test_a_model_that_cannot_be_read_keeps_every_study_from_starting() -> None:
    """A simulated one too: its memory is the model's."""
    error = ModelError("the model m/gated is gated", hint="export HF_TOKEN=...")
    check = verdict(replace(READY, deployer="simulated", model_error=error), "model")
    assert check.state is State.MISSING
    assert check.mend == "export HF_TOKEN=..."


def test_a_folder_that_cannot_be_written_is_missing() -> None:
    """The study would end at its first file."""
    assert verdict(replace(READY, results_error="/x cannot be written"), "results").state is (
        State.MISSING
    )


def test_a_port_that_the_study_names_must_be_free() -> None:
    """One that it leaves open is only where the exported service listens."""
    taken = replace(READY, port_error="port 8000 is in use")
    named = study_from({"port": 8000}, where="test")
    (check,) = [check for check in checks(taken, named) if check.name == "port 8000"]
    assert check.state is State.MISSING
    assert verdict(taken, "port 8000").state is State.WARNING


def test_a_command_that_mends_can_be_copied_on_80_columns() -> None:
    """No line of it is broken by the program."""
    mend = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    check = Check(name="toolkit", state=State.MISSING, found="none", consequence="no GPU",
                  mend=mend)  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    show(console, [check])
    assert isinstance(console.file, io.StringIO)
    assert f"  {mend}\n" in console.file.getvalue()


def test_an_image_that_is_not_there_names_the_command_that_fetches_it() -> None:
    """The very image of the study."""
    docker = DockerFacts(release="28", runtimes=("nvidia",), data_root="/d")

    assert verdict(replace(READY, docker=docker), "image").mend == (
        "docker pull vllm/vllm-openai:v0.33.0"
    )


def test_a_display_on_the_gpu_is_noticed() -> None:
    """It takes memory and time, whether or not its process is told."""
    (card,) = READY.hardware.gpus
    shown = replace(READY.hardware, gpus=(replace(card, display_is_on=True),))
    check = verdict(replace(READY, hardware=shown), "display on the GPU")

    assert check.state is State.WARNING
    assert "headroom.gpu_gib" in check.consequence


def test_locked_memory_is_limited_for_processes_alone() -> None:
    """A container's limit is lifted by autotune, and a simulated engine locks nothing."""
    limited = replace(READY, memlock_bytes=8 * 1024**2)
    assert verdict(limited, "memlock").state is State.OK
    assert verdict(replace(limited, deployer="simulated"), "memlock").state is State.OK
    check = verdict(replace(limited, deployer="process"), "memlock")
    assert check.state is State.WARNING
    assert check.found == "8 MiB"
    assert "limits.conf" in check.mend


def test_memory_that_other_programs_hold_is_noticed() -> None:
    """94 GiB of which 15 can be had: 9 stay free, and an engine needs more than 6."""
    check = verdict(replace(READY, ram_free_bytes=15 * GIB), "RAM")
    assert check.state is State.WARNING
    assert check.found == "94 GiB, 15 free now, of which 9 stay free"
    assert verdict(replace(READY, ram_free_bytes=80 * GIB), "RAM").state is State.OK
    simulated = replace(READY, deployer="simulated", ram_free_bytes=GIB)
    assert verdict(simulated, "RAM").found == "94 GiB, of which 9 stay free"


def test_another_process_on_the_gpu_is_noticed() -> None:
    """It takes memory and time."""
    check = verdict(replace(READY, gpu_processes=1), "other processes on the GPU")

    assert check.state is State.WARNING


def test_a_load_generator_of_ordinary_priority_is_noticed() -> None:
    """Its times are late where cores are few; a simulated study has a clock of its own."""
    ordinary = replace(READY, client_is_realtime=False)
    check = verdict(ordinary, "load generator")

    assert check.state is State.WARNING
    assert "rtprio" in check.mend
    assert verdict(READY, "load generator").state is State.OK
    simulated = checks(replace(ordinary, deployer="simulated"), SPEC)
    assert not any(check.name == "load generator" for check in simulated)
