"""What a Docker engine says of itself and of an image."""

from typing import Any

import docker.errors
import pytest

from autotune.deployers.docker_facts import docker_facts

VLLM = {
    "Size": 20_000_000_000,
    "Config": {"Env": ["PATH=/usr/bin", "CUDA_VERSION=12.9.1",
                       "NVIDIA_REQUIRE_CUDA=cuda>=12.9 brand=tesla,driver>=570,driver<571"]},
}  # fmt: skip


class Image:
    """One that is there."""

    def __init__(self, attrs: dict[str, Any]) -> None:
        self.attrs = attrs


class Client:
    """An engine with at most one image, in the answers of Docker's API."""

    def __init__(self, image: dict[str, Any] | None) -> None:
        self.images = self
        self._image = image

    def info(self) -> dict[str, Any]:
        """`GET /info`, as far as it is read."""
        return {"ServerVersion": "28.1", "Runtimes": {"runc": {}, "nvidia": {}},
                "DockerRootDir": "/var/lib/docker"}  # fmt: skip

    def get(self, name: str) -> Image:
        """`GET /images/NAME/json`."""
        if self._image is None:
            raise docker.errors.ImageNotFound(name)
        return Image(self._image)

    def close(self) -> None:
        """Nothing to do."""


def test_an_image_tells_its_size_and_its_environment() -> None:
    """A value may hold further equal signs."""
    found = docker_facts("vllm", connect=lambda: Client(VLLM))
    assert found.image_bytes == 20_000_000_000
    assert found.image_env["CUDA_VERSION"] == "12.9.1"
    assert found.image_env["NVIDIA_REQUIRE_CUDA"].startswith("cuda>=12.9 brand=tesla,")
    assert found.runtimes == ("nvidia", "runc")


@pytest.mark.parametrize("attrs", [{}, {"Config": None}, {"Config": {"Env": None}}])
def test_an_image_without_an_environment_has_an_empty_one(attrs: dict[str, Any]) -> None:
    """Docker leaves out what nobody set."""
    found = docker_facts("vllm", connect=lambda: Client(attrs))
    assert found.image_bytes == 0
    assert found.image_env == {}


def test_an_image_that_is_not_there_tells_nothing() -> None:
    """Neither does one that nobody asked for."""
    absent = docker_facts("vllm", connect=lambda: Client(None))
    assert (absent.image_bytes, dict(absent.image_env)) == (None, {})
    unasked = docker_facts(connect=lambda: Client(VLLM))
    assert (unasked.image_bytes, dict(unasked.image_env)) == (None, {})
