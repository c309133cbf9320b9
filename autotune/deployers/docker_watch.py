"""Waiting for a container's end, through whatever happens to its engine."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import docker.errors

from autotune.clock import Clock
from autotune.deployers.docker_connect import PATIENCE_S, ClientFactory
from autotune.deployers.docker_errors import FOREIGN, translated
from autotune.deployers.processes import ProcessId, is_running
from autotune.seams.deployment import ExitEvidence
from autotune.units import ns_from_s

_RETRY_S: Final = 0.25
_SIGNALS_FROM: Final = 128
_SIGNALS: Final = 64


class ExitWatch:
    """Asks the engine to tell when a container has ended, in a thread of its own.

    While the engine is away the container may go on: then its process tells, where this host can
    see it. Where it cannot, the container counts as lost after a minute.

    Args:
        connect: Makes a client.
        container_id: Of a container that was started.
        process: Its first process, if it can be seen from here.
        clock: A real one.
        tell: Called once, in the thread, with how it ended.
        returned: Called, in the thread, when the engine is back and the container runs on.
    """

    def __init__(
        self,
        connect: ClientFactory,
        container_id: str,
        process: ProcessId | None,
        clock: Clock,
        *,
        tell: Callable[[ExitEvidence], None],
        returned: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._container_id = container_id
        self._process = process
        self._clock = clock
        self._tell = tell
        self._returned = returned
        self._is_over = threading.Event()
        self._away_since_ns: int | None = None
        threading.Thread(target=self._run, name="container-exit", daemon=True).start()

    @property
    def is_away(self) -> bool:
        """Whether the engine did not answer when it was last asked."""
        return self._away_since_ns is not None

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._is_over.set()

    def _run(self) -> None:
        was_away = False
        while not self._is_over.is_set():
            try:
                state = self._wait_once()
            except docker.errors.NotFound:
                self._tell(_broken(ExitEvidence(), "somebody else removed the container"))
                return
            except (*FOREIGN, ValueError) as error:  # ValueError: an answer cut off in the middle
                since_ns = self._away_since_ns or self._clock.now_ns()
                self._away_since_ns, was_away = since_ns, True
                if self._is_lost(since_ns):
                    detail = f"lost with its engine: {translated(error)}"
                    self._tell(_broken(ExitEvidence(), detail))
                    return
                self._is_over.wait(_RETRY_S)
            else:
                if not state["Running"]:
                    ended = evidence_of(state)
                    self._tell(_broken(ended, "the Docker engine was away") if was_away else ended)
                    return

    def _wait_once(self) -> dict[str, Any]:
        """The state of the container once it has ended; raises if the connection breaks."""
        client = self._connect()
        try:
            if self.is_away:
                state = self._state(client)
                if not state["Running"]:
                    return state
                self._away_since_ns = None
                self._returned()
            client.api.wait(self._container_id, timeout=None)
            return self._state(client)
        finally:
            client.close()

    def _state(self, client: Any) -> dict[str, Any]:
        state: dict[str, Any] = client.api.inspect_container(self._container_id)["State"]
        return state

    def _is_lost(self, away_since_ns: int) -> bool:
        if self._process is not None:
            return not is_running(self._process)
        return self._clock.now_ns() - away_since_ns > ns_from_s(PATIENCE_S)


def evidence_of(state: dict[str, Any]) -> ExitEvidence:
    """How a container ended (Docker Engine API, ContainerState).

    Codes above 128 are those of a signal, as a shell counts; a program may also choose one.
    """
    code = int(state["ExitCode"])
    number = code - _SIGNALS_FROM if _SIGNALS_FROM < code <= _SIGNALS_FROM + _SIGNALS else None
    return ExitEvidence(
        exit_code=code,
        signal=number,
        oom_killed=bool(state.get("OOMKilled")),
        detail=str(state.get("Error") or ""),
    )


def with_detail(evidence: ExitEvidence, more: str) -> ExitEvidence:
    """Evidence that says one thing more."""
    return replace(evidence, detail="; ".join(filter(None, (evidence.detail, more))))


def _broken(evidence: ExitEvidence, detail: str) -> ExitEvidence:
    """An end that is the Docker engine's fault or somebody else's."""
    return replace(with_detail(evidence, detail), deployer_fault=True)
