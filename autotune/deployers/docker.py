"""Servers in Docker containers."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import docker

from autotune.clock import Clock
from autotune.deployers.bounded_log import BoundedLog
from autotune.deployers.docker_connect import ClientFactory
from autotune.deployers.docker_deployment import DockerDeployment
from autotune.deployers.docker_errors import FOREIGN, translating
from autotune.deployers.docker_images import Images
from autotune.deployers.docker_options import container_options, passed_through
from autotune.deployers.docker_start import remove_container, start_container
from autotune.deployers.marks import (
    ERRANDS,
    LABEL_PREFIX,
    OwnerState,
    errand,
    identity_of,
    named,
    owner_state,
)
from autotune.deployers.masking import secrets_of
from autotune.deployers.patience import LEAVING_GRACE_S, to_the_end
from autotune.seams.deployment import Deployment, Identity, LaunchPlan

NO_PROGRAM: Final = "/autotune/no-such-program"


class DockerDeployer:
    """Starts servers as containers.

    Args:
        clock: A real one.
        client_factory: Makes a Docker client; by default for the engine that DOCKER_HOST names,
            else the local one.
    """

    name = "docker"

    def __init__(self, clock: Clock, client_factory: ClientFactory = docker.from_env) -> None:
        self._clock = clock
        self._connect = client_factory
        self._images = Images()
        self._left: dict[str, dict[str, Any]] = {}

    async def preflight(self, plan: LaunchPlan) -> None:
        """Look for engine and image, then rehearse: everything of a start but the program.

        The rehearsal starts the very container with a program that no image has. The engine
        finds a port in use, a missing folder or a missing GPU runtime before it looks for the
        program, so its complaint about the program means that nothing else stands in the way.

        Raises:
            DockerUnavailableError: No engine, or no rights.
            ImageMissingError: No such image.
            PortInUseError: Somebody else has the port.
            DeployerError: Whatever else stops a start.
        """
        await to_the_end(asyncio.to_thread(self._preflight, plan))

    @asynccontextmanager
    async def deploy(
        self, plan: LaunchPlan, *, identity: Identity, log_path: Path
    ) -> AsyncIterator[Deployment]:
        """Start a container.

        Raises:
            DeployerError: If the engine refuses, as in `preflight`.
        """
        options = container_options(plan, named(identity), uuid.uuid4().hex)
        secrets = secrets_of({**plan.env, **passed_through(plan)}, plan.env_passthrough)
        deployment = DockerDeployment(
            options,
            self._connect,
            self._images,
            BoundedLog(log_path, secrets=secrets),
            log_path=log_path,
            base_url=plan.base_url,
            clock=self._clock,
        )
        try:
            await to_the_end(asyncio.to_thread(self._remove_left))
            await deployment.start()
            yield deployment
        finally:
            await to_the_end(deployment.stop(grace_s=LEAVING_GRACE_S))
            if not deployment.is_removed:
                self._left[deployment.container_name] = deployment.options

    async def sweep(self, study: str) -> tuple[str, ...]:
        """Remove containers that dead runs of this study left, found by label.

        Also those in which a dead autotune, of whatever study, tried a start or looked into an
        image: they belong to no study that would sweep them.

        Raises:
            DeployerError: If the engine does not answer.
        """
        return await to_the_end(asyncio.to_thread(self._sweep, study))

    def _preflight(self, plan: LaunchPlan) -> None:
        with translating("looking for the image"):
            client = self._connect()
            try:
                self._rehearse(client, plan)
            finally:
                client.close()

    def _rehearse(self, client: docker.DockerClient, plan: LaunchPlan) -> None:
        options = container_options(plan, errand(), uuid.uuid4().hex)
        options["entrypoint"] = [NO_PROGRAM]
        try:
            start_container(client, self._images.meant(client, options))
        except docker.errors.APIError as error:
            if NO_PROGRAM not in str(error.explanation):
                raise
        finally:
            with suppress(*FOREIGN):
                remove_container(client, options, grace_s=0.0)

    def _remove_left(self) -> None:
        """Remove containers that could not be when they ended, for the engine was away."""
        for name, options in sorted(self._left.items()):
            with suppress(*FOREIGN):
                client = self._connect()
                remove_container(client, options, grace_s=0.0)
                client.close()
                del self._left[name]

    def _sweep(self, study: str) -> tuple[str, ...]:
        with translating("sweeping containers"):
            client = self._connect()
            try:
                return tuple(_end_dead(client, study)) + tuple(_end_dead(client, ERRANDS))
            finally:
                client.close()


def _end_dead(client: docker.DockerClient, study: str) -> Iterator[str]:
    """Remove the containers of a study whose owners are dead; a line each."""
    found = client.containers.list(
        all=True, ignore_removed=True, filters={"label": f"{LABEL_PREFIX}study={study}"}
    )
    for container in found:
        identity = identity_of(container.labels)
        if identity is None or owner_state(identity) is not OwnerState.DEAD:
            continue
        with suppress(docker.errors.NotFound):  # it ended by itself meanwhile
            container.remove(force=True, v=True)
        whose = "a look ahead" if study == ERRANDS else f"trial {identity.trial} of study {study}"
        yield f"{whose}: {container.name} ended"
