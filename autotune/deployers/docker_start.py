"""Starting a container, less what the engine at hand cannot grant; removing it, and only it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import docker
import docker.errors

from autotune.deployers.docker_options import conceded
from autotune.deployers.marks import DEPLOYMENT_LABEL


def start_container(
    client: docker.DockerClient,
    options: Mapping[str, Any],
    before: Callable[[Any], None] = lambda _container: None,
) -> Any:
    """Create and start a container; blocks.

    Args:
        client: For the engine.
        options: Arguments of `containers.create`.
        before: Called with each container that was created, before its start.

    Returns:
        The container that was started.

    Raises:
        docker.errors.APIError: If the engine refuses. A container that was created and could not
            be started is left for the caller, who knows its name.
    """
    while True:
        container = client.containers.create(**options)
        before(container)
        try:
            container.start()
        except docker.errors.APIError as error:
            less = conceded(options, str(error.explanation))
            if less is None:
                raise
            options = less
            container.remove(force=True, v=True)
        else:
            return container


def remove_container(
    client: docker.DockerClient,
    options: Mapping[str, Any],
    grace_s: float,
    stopped: Callable[[], None] = lambda: None,
) -> None:
    """Stop and remove a container, with its anonymous volumes; blocks.

    Args:
        client: For the engine.
        options: With which it was created. By its deployment's mark and not by the object that
            `create` gave, for the engine may have made it and failed to say so; nor by its name,
            for somebody may have given it another, or have that name himself.
        grace_s: Between SIGTERM and SIGKILL.
        stopped: Called once it has ended and can still be looked at.
    """
    mark = f"{DEPLOYMENT_LABEL}={options['labels'][DEPLOYMENT_LABEL]}"
    for container in client.containers.list(all=True, ignore_removed=True, filters={"label": mark}):
        with suppress(docker.errors.NotFound):  # it has ended by itself meanwhile
            container.stop(timeout=max(0, round(grace_s)))
            stopped()
            container.remove(force=True, v=True)
