"""Reaching a Docker engine that may be restarting."""

import threading
from collections.abc import Callable
from typing import Final

import docker

from autotune.clock import Clock
from autotune.deployers.docker_errors import FOREIGN, is_passing, translated
from autotune.units import ns_from_s

ClientFactory = Callable[[], docker.DockerClient]

PATIENCE_S: Final = 60.0
"""How long an engine may be away: a restart of the service takes some 10 s."""

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0


def connected(
    connect: ClientFactory,
    clock: Clock,
    given_up: threading.Event,
    *,
    patience_s: float = PATIENCE_S,
) -> docker.DockerClient:
    """A client of an engine that answers; waits for one that is away, with growing pauses.

    Args:
        connect: Makes a client; fails if the engine does not answer.
        clock: A real one.
        given_up: Ends the waiting.
        patience_s: The longest wait.

    Raises:
        DeployerError: At once for what waiting does not mend, such as missing rights.
    """
    deadline_ns = clock.now_ns() + ns_from_s(patience_s)
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return connect()
        except FOREIGN as error:
            if not is_passing(error) or clock.now_ns() >= deadline_ns or given_up.is_set():
                raise translated(error, "connecting") from error
        given_up.wait(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
