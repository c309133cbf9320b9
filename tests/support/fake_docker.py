"""A Docker engine in memory, behind the client's interface: it can be away, refuse, and return.

Only what the Docker deployer calls. Real answers are tested in `tests/contract/deployers`; this is
for what a real engine cannot be asked to do on time.
"""

import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any

import docker.errors
import requests
import requests.exceptions


def refusal(text: str, status: int = 500) -> docker.errors.APIError:
    """An answer that says no."""
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError("server error", response=response, explanation=text)


@dataclass
class FakeContainer:
    """A container, and who listens to it."""

    engine: "FakeEngine"
    options: dict[str, Any]
    id: str
    listeners: list[socket.socket] = field(default_factory=list)
    state: dict[str, Any] = field(
        default_factory=lambda: {"Running": False, "ExitCode": 0, "OOMKilled": False, "Pid": 0}
    )

    @property
    def name(self) -> str:
        """As created."""
        return str(self.options["name"])

    @property
    def labels(self) -> dict[str, str]:
        """As created."""
        return dict(self.options["labels"])

    @property
    def attrs(self) -> dict[str, Any]:
        """What `inspect` gives."""
        return {"Id": self.id, "State": self.state}

    def start(self) -> None:
        """Run, unless the engine refuses the settings."""
        self.engine.answer()
        self.engine.starts.append(self.options)
        for setting, text in self.engine.refused.items():
            if setting in self.options:
                raise refusal(text)
        self.state = {**self.state, "Running": True}

    def reload(self) -> None:
        """Ask for the state."""
        self.engine.answer()

    def rename(self, name: str) -> None:
        """As `docker rename`."""
        del self.engine.containers[self.name]
        self.options = {**self.options, "name": name}
        self.engine.containers[name] = self

    def write(self, text: bytes) -> None:
        """Output of the server."""
        for listener in self.listeners:
            listener.sendall(struct.pack(">BxxxI", 1, len(text)) + text)

    def end(self, code: int, *, oom_killed: bool = False) -> None:
        """The server ends."""
        with self.engine.changed:
            self.state = {**self.state, "Running": False, "ExitCode": code, "OOMKilled": oom_killed}
            self.engine.changed.notify_all()
        self.hang_up()

    def hang_up(self) -> None:
        """Whoever listens hears no more."""
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    def stop(self, *, timeout: int) -> None:
        """As asked."""
        self.engine.answer()
        if self.state["Running"]:
            self.end(143)

    def remove(self, *, force: bool, v: bool) -> None:
        """Forget it."""
        self.engine.answer()
        if self.state["Running"]:
            self.end(137)
        with self.engine.changed:
            del self.engine.containers[self.name]
            self.engine.changed.notify_all()
        self.hang_up()


@dataclass
class FakeEngine:
    """The engine.

    Attributes:
        refused: Setting of a container to the text with which its start is refused.
        images: Names, and the ids that they mean.
        starts: Settings of every attempt to start.
    """

    refused: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=lambda: {"vllm": "sha256:1"})
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    starts: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    absence: Exception | None = None
    calls: int = 0

    def leave(self, error: Exception | None = None) -> None:
        """Go away: every call fails from now on, and those under way break."""
        with self.changed:
            self.absence = error or requests.exceptions.ConnectionError(
                "('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"
            )
            self.changed.notify_all()
        for container in self.containers.values():
            container.hang_up()

    def forget(self) -> None:
        """Lose every container at once, as if it had never been."""
        with self.changed:
            lost = list(self.containers.values())
            self.containers.clear()
            self.changed.notify_all()
        for container in lost:
            container.hang_up()

    def come_back(self) -> None:
        """Answer again."""
        with self.changed:
            self.absence = None

    def answer(self) -> None:
        """Raise if it is away."""
        self.calls += 1
        if self.absence is not None:
            raise self.absence

    def connect(self) -> Any:
        """A client; the real one asks for the version at once."""
        self.answer()
        return FakeClient(self)

    @property
    def only(self) -> FakeContainer:
        """The container that there is."""
        (container,) = self.containers.values()
        return container


class FakeClient:
    """A client and its `containers` and `api` in one."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.containers = self
        self.api = self
        self.images = FakeImages(engine)

    def create(self, **options: Any) -> FakeContainer:
        """A new container."""
        self._engine.answer()
        if options["name"] in self._engine.containers:
            text = f'The container name "/{options["name"]}" is already in use by container'
            raise refusal(text, 409)
        number = len(self._engine.starts)
        container = FakeContainer(self._engine, options, id=f"{number:064x}")
        self._engine.containers[container.name] = container
        return container

    def list(
        self,
        *,
        all: bool,  # noqa: A002 - the name that the client gives it
        ignore_removed: bool,
        filters: dict[str, str],
    ) -> list[FakeContainer]:
        """Those with a label and its value."""
        self._engine.answer()
        name, _, value = filters["label"].partition("=")
        return [c for c in self._engine.containers.values() if c.labels.get(name) == value]

    def attach_socket(self, container_id: str, *, params: dict[str, int]) -> socket.socket:
        """Its output from now on."""
        here, there = socket.socketpair()
        self._by_id(container_id).listeners.append(there)
        return here

    def wait(self, container_id: str, *, timeout: None) -> dict[str, int]:
        """Block until it has ended."""
        engine = self._engine
        with engine.changed:
            engine.answer()
            while self._by_id(container_id).state["Running"]:
                engine.changed.wait()
                engine.answer()
            return {"StatusCode": self._by_id(container_id).state["ExitCode"]}

    def inspect_container(self, container_id: str) -> dict[str, Any]:
        """Its state."""
        self._engine.answer()
        return self._by_id(container_id).attrs

    def close(self) -> None:
        """Nothing to do."""

    def _by_id(self, container_id: str) -> FakeContainer:
        for container in self._engine.containers.values():
            if container.id == container_id:
                return container
        raise docker.errors.NotFound(container_id)


@dataclass
class FakeImage:
    """An image."""

    id: str


class FakeImages:
    """A client's `images`."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def get(self, name: str) -> FakeImage:
        """One by its name or id."""
        self._engine.answer()
        known = self._engine.images
        if name in known:
            return FakeImage(known[name])
        if name in known.values():
            return FakeImage(name)
        raise docker.errors.ImageNotFound(name)
