"""Starting servers, watching them, and leaving nothing of them behind.

Modules are imported where a deployer is made: a supervisor, which starts with every process
deployment and lives in this package, needs no Docker client.
"""

from collections.abc import Callable
from typing import Final

from autotune.clock import Clock
from autotune.seams.deployment import Deployer


def _process(clock: Clock) -> Deployer:
    from autotune.deployers.process import ProcessDeployer  # noqa: PLC0415 - see above

    return ProcessDeployer(clock)


def _docker(clock: Clock) -> Deployer:
    from autotune.deployers.docker import DockerDeployer  # noqa: PLC0415 - see above

    return DockerDeployer(clock)


DEPLOYERS: Final[dict[str, Callable[[Clock], Deployer]]] = {
    "docker": _docker,
    "process": _process,
}
