"""What the Docker engine at hand is, without starting anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        image_env: Its environment, as a container of it begins; empty if it is not there.
    """

    release: str
    runtimes: tuple[str, ...]
    data_root: str
    image_bytes: int | None = None
    image_env: Mapping[str, str] = field(default_factory=dict)


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
            found = None if image is None else _image(client, image)
            return DockerFacts(
                release=str(info.get("ServerVersion", "")),
                runtimes=tuple(sorted(info.get("Runtimes") or {})),
                data_root=str(info.get("DockerRootDir", "")),
                image_bytes=None if found is None else int(found.get("Size", 0)),
                image_env={} if found is None else _environment(found),
            )
        finally:
            client.close()


def _image(client: Any, image: str) -> Mapping[str, Any] | None:
    """What the engine says of an image; None if it is not there."""
    try:
        return dict(client.images.get(image).attrs)
    except docker.errors.ImageNotFound:
        return None
    except FOREIGN as error:
        raise translated(error) from error


def _environment(image: Mapping[str, Any]) -> dict[str, str]:
    """`Config.Env`, a list of NAME=value; an engine may leave it out."""
    lines = (image.get("Config") or {}).get("Env") or ()
    return {name: value for name, _, value in (str(line).partition("=") for line in lines)}
