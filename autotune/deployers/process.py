"""Servers as processes of this user, each under a supervisor of its own."""

import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from autotune.clock import Clock
from autotune.deployers import leftovers
from autotune.deployers.footprint import private_folder
from autotune.deployers.marks import environment_marks, named
from autotune.deployers.masking import secrets_of
from autotune.deployers.order import Order
from autotune.deployers.patience import LEAVING_GRACE_S, to_the_end
from autotune.deployers.ports import ensure_free
from autotune.deployers.process_deployment import ProcessDeployment
from autotune.errors import DeployerError
from autotune.seams.deployment import Deployment, Identity, LaunchPlan


class ProcessDeployer:
    """Starts servers as local processes.

    The server inherits this program's environment; `LaunchPlan.env` comes on top. It runs in a
    session of its own, is the kernel's first choice when memory runs out (oom_score_adj 1000),
    and ends with everything it started when it is stopped, when its context is left, or when
    this program dies. `LaunchPlan.memory_limit_bytes` is enforced by its supervisor.

    Args:
        clock: A real one.
    """

    name = "process"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def preflight(self, plan: LaunchPlan) -> None:
        """Look for the program and the port.

        Raises:
            PortInUseError: If somebody else listens there.
            DeployerError: If there is no such program.
        """
        _find_program(plan.argv[0], _environment(plan))
        ensure_free(plan.bind_host, plan.port)

    @asynccontextmanager
    async def deploy(
        self, plan: LaunchPlan, *, identity: Identity, log_path: Path
    ) -> AsyncIterator[Deployment]:
        """Start a server.

        Raises:
            PortInUseError: If somebody else listens on its port: they would be measured.
            DeployerError: If the program cannot be started.
        """
        ensure_free(plan.bind_host, plan.port)
        order = _order(plan, named(identity), log_path)
        deployment = ProcessDeployment(order, plan.base_url, self._clock)
        try:
            await deployment.start()
            yield deployment
        finally:
            await to_the_end(deployment.stop(grace_s=LEAVING_GRACE_S))

    async def sweep(self, study: str) -> tuple[str, ...]:
        """End processes and remove shared memory that dead runs of this study left."""
        return await leftovers.sweep(study, self._clock)


def _order(plan: LaunchPlan, identity: Identity, log_path: Path) -> Order:
    deployment = uuid.uuid4().hex
    env = _environment(plan)
    return Order(
        deployment=deployment,
        identity=identity,
        argv=(_find_program(plan.argv[0], env), *plan.argv[1:]),
        env={**env, **environment_marks(identity, deployment)},
        log_path=str(log_path.absolute()),
        footprints=str(private_folder()),
        secrets=secrets_of(env, plan.env_passthrough),
        memory_limit_bytes=plan.memory_limit_bytes,
    )


def _environment(plan: LaunchPlan) -> dict[str, str]:
    return {**os.environ, **plan.env}


def _find_program(name: str, env: dict[str, str]) -> str:
    """The program's path: a relative name is looked up on the PATH that it will get."""
    found = shutil.which(name, path=env.get("PATH"))
    if found is not None:
        return found
    path = Path(name)
    if path.is_file():
        message = f"{name} is not executable"
        raise DeployerError(message, hint=f"`chmod +x {name}`, or name another `engine.command`.")
    message = f"there is no program {name!r}"
    raise DeployerError(
        message,
        hint="Install it, activate its environment, or set `engine.command` to its full path.",
    )
