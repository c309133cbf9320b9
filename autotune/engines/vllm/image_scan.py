"""Runs the scan inside a container image: the only place here that talks to Docker."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import docker
import docker.errors
import requests

from autotune.errors import DockerUnavailableError, EngineError, ImageMissingError
from autotune.seams.deployment import Mount

SCAN_LABELS: Final = {"autotune.role": "scan"}
SCAN_TIMEOUT_S: Final = 120.0
"""A first start of a large image unpacks nothing, but a cold disk may take a minute."""


@dataclass(frozen=True, kw_only=True)
class ImageScan:
    """What a program in a throw-away container printed."""

    exit_code: int
    stdout: str
    stderr: str


def image_digest(image: str) -> str:
    """The digest of an image on this machine: the registry's where it has one, else its id.

    Raises:
        DockerUnavailableError: If there is no engine to ask.
        ImageMissingError: If the image is not on this machine.
    """
    with _client(image) as client:
        found = client.images.get(image)
        digests = found.attrs.get("RepoDigests") or []
        return str(digests[0].partition("@")[2] if digests else found.id)


def run_in_image(
    image: str,
    program: str,
    arguments: Sequence[str],
    mounts: Sequence[Mount],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> ImageScan:
    """Run a program in a container of an image, and remove the container.

    It has no network and no privileges, and may read whatever the image and the mounts hold.

    Raises:
        DockerUnavailableError: If there is no engine to ask.
        ImageMissingError: If the image is not on this machine.
        EngineError: If the program is not in the image or does not end.
    """
    with _client(image) as client:
        container = client.containers.create(
            image,
            list(arguments),
            entrypoint=[program],
            network_mode="none",
            working_dir="/",
            labels={**SCAN_LABELS, **labels},
            cap_drop=["ALL"],
            cap_add=["DAC_OVERRIDE"],
            security_opt=["no-new-privileges=true"],
            mounts=[_mount(m) for m in mounts],
        )
        try:
            container.start()
            ended = container.wait(timeout=SCAN_TIMEOUT_S)
            stdout = container.logs(stdout=True, stderr=False)
            stderr = container.logs(stdout=False, stderr=True)
        finally:
            container.remove(force=True)
    return ImageScan(
        exit_code=int(ended["StatusCode"]),
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
    )


def _mount(mount: Mount) -> Any:
    return docker.types.Mount(
        target=mount.target, source=str(mount.source), type="bind", read_only=mount.read_only
    )


@contextlib.contextmanager
def _client(image: str) -> Iterator[docker.DockerClient]:
    """A client whose errors are ours."""
    try:
        client = docker.from_env(timeout=int(SCAN_TIMEOUT_S))
    except docker.errors.DockerException as error:
        message = f"Docker does not answer: {error}"
        raise DockerUnavailableError(message, hint="Start Docker, or check DOCKER_HOST.") from error
    try:
        yield client
    except docker.errors.ImageNotFound as error:
        message = f"the image {image} is not on this machine"
        raise ImageMissingError(message, hint=f"docker pull {image}") from error
    except docker.errors.APIError as error:
        message = f"the image {image} could not be looked into: {error.explanation or error}"
        raise EngineError(message, hint="It needs the Python that its vLLM runs on.") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        message = f"Docker stopped answering while {image} was looked into: {error}"
        raise DockerUnavailableError(message, hint="See `docker info`.") from error
    finally:
        client.close()
