"""What the Docker engine at hand is, without starting anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docker

from autotune.deployers.docker_errors import FOREIGN, translated, translating


@dataclass(frozen=True, kw_only=True)
class DockerFacts:
    """A Docker engine that answers.

    Attributes:
        release: Of the engine.
        runtimes: Names of its container runtimes; "nvidia" among them means GPUs can be handed
            to containers.
        data_root: Where it keeps images, a path on the engine's host.
        image_bytes: Size of the image asked for; None if it is not there.
    """

    release: str
    runtimes: tuple[str, ...]
    data_root: str
    image_bytes: int | None = None


def require_docker() -> None:
    """Return if a Docker engine can be used.

    Raises:
        DockerUnavailableError: With the command that mends it.
        DeployerError: If it answers with something else.
    """
    with translating("looking for a Docker engine"):
        client = docker.from_env()
        try:
            client.ping()
        finally:
            client.close()


def docker_facts(
    image: str | None = None, *, connect: Callable[[], Any] = docker.from_env
) -> DockerFacts:
    """Ask the engine about itself and about an image.

    Raises:
        DeployerError: If it does not answer.
    """
    with translating("asking the Docker engine about itself"):
        client = connect()
        try:
            info = client.info()
            return DockerFacts(
                release=str(info.get("ServerVersion", "")),
                runtimes=tuple(sorted(info.get("Runtimes") or {})),
                data_root=str(info.get("DockerRootDir", "")),
                image_bytes=None if image is None else _image_bytes(client, image),
            )
        finally:
            client.close()


def _image_bytes(client: Any, image: str) -> int | None:
    try:
        return int(client.images.get(image).attrs.get("Size", 0))
    except docker.errors.ImageNotFound:
        return None
    except FOREIGN as error:
        raise translated(error) from error
