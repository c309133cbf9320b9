"""Docker's errors in autotune's words: this table is the one place that knows their texts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import docker.errors
import requests.exceptions
import urllib3.exceptions

from autotune.errors import (
    DeployerError,
    DockerUnavailableError,
    ImageMissingError,
    PortInUseError,
)

FOREIGN: Final = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)
"""What the Docker client lets out; it does not wrap what happens to its connection."""

_UNREACHABLE: Final = (
    "connection aborted",
    "connection refused",
    "connection reset",
    "no such file or directory')",  # the socket: ('Connection aborted.', FileNotFoundError(2, ..))
    "error while fetching server api version",
    "max retries exceeded",
    "read timed out",
    "remote end closed connection",
    "broken pipe",
    "is the docker daemon running",
)

_RIGHTS: Final = ("permission denied", "permissionerror")


@dataclass(frozen=True)
class _Text:
    """A fragment of Docker's texts and the error that it means."""

    fragments: tuple[str, ...]
    make: Callable[[str], DeployerError]


def translated(error: BaseException, doing: str = "talking to Docker") -> DeployerError:
    """An error of the Docker client as one of autotune's, with the next step.

    Args:
        error: One of `FOREIGN`.
        doing: What was being done, for the message.
    """
    if isinstance(error, DeployerError):
        return error
    text = str(getattr(error, "explanation", None) or error) or type(error).__name__
    low = text.lower()
    if isinstance(error, docker.errors.ImageNotFound):
        return _image_missing(text)
    if not isinstance(error, docker.errors.APIError) and any(word in low for word in _RIGHTS):
        return _no_rights(text)
    if _is_unreachable(error, low):
        return _unavailable(text)
    for entry in _TEXTS:
        if any(fragment in low for fragment in entry.fragments):
            return entry.make(text)
    return DeployerError(
        f"Docker failed while {doing}: {text}",
        hint="`docker info` and the engine's own log (`journalctl -u docker`) say more.",
    )


def is_passing(error: BaseException) -> bool:
    """Whether the engine was not there to answer, which a little time may mend."""
    text = str(error).lower()
    return _is_unreachable(error, text) and not any(word in text for word in _RIGHTS)


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Translate what the Docker client raises inside.

    Raises:
        DeployerError: In place of it.
    """
    try:
        yield
    except FOREIGN as error:
        raise translated(error, doing) from error


def _is_unreachable(error: BaseException, low: str) -> bool:
    if isinstance(error, docker.errors.APIError):
        return False  # the engine answered
    kinds = (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.TimeoutError,
        ConnectionError,
        FileNotFoundError,
    )
    return isinstance(error, kinds) or any(fragment in low for fragment in _UNREACHABLE)


def _image_missing(text: str) -> ImageMissingError:
    return ImageMissingError(
        f"the image is not on this machine: {text}",
        hint="`docker pull IMAGE` fetches it; `docker images` lists those that are here.",
    )


def _unavailable(text: str) -> DockerUnavailableError:
    return DockerUnavailableError(
        f"no Docker engine answers: {text}",
        hint="Start it: `sudo systemctl start docker` (or Docker Desktop). "
        "DOCKER_HOST names another one.",
    )


def _no_rights(text: str) -> DockerUnavailableError:
    return DockerUnavailableError(
        f"no right to use Docker's socket: {text}",
        hint="`sudo usermod -aG docker $USER`, then log out and in again.",
    )


def _port(text: str) -> PortInUseError:
    return PortInUseError(
        f"Docker cannot publish the port: {text}",
        hint="`docker ps` and `ss -ltnp` show who has it. Stop that, or set another `port`.",
    )


def _gpu(text: str) -> DeployerError:
    return DeployerError(
        f"Docker cannot hand GPUs to containers: {text}",
        hint="Install the NVIDIA Container Toolkit, then `sudo nvidia-ctk runtime configure "
        "--runtime=docker && sudo systemctl restart docker`. Try `docker run --rm --gpus all "
        "ubuntu nvidia-smi`.",
    )


def _mount(text: str) -> DeployerError:
    return DeployerError(
        f"a mounted folder is not there: {text}",
        hint="Make it, or correct `engine.mounts` in the study.",
    )


def _program(text: str) -> DeployerError:
    return DeployerError(
        f"the image does not have the program: {text}",
        hint="Set `engine.command` to what the image offers, e.g. [vllm, serve].",
    )


def _disk(text: str) -> DeployerError:
    return DeployerError(
        f"Docker has no room on its disk: {text}",
        hint="`docker system df` shows what takes it; `docker system prune` frees it.",
    )


def _name(text: str) -> DeployerError:
    return DeployerError(
        f"a container of that name exists: {text}",
        hint="`docker ps -a --filter label=autotune.study` lists autotune's own.",
    )


def _memory(text: str) -> DeployerError:
    return DeployerError(
        f"Docker refuses the container's memory settings: {text}",
        hint="The limit is the host's memory less `headroom.host_gib`: lower the headroom.",
    )


_TEXTS: Final = (
    _Text(("port is already allocated", "address already in use", "ports are not available",
           "failed to bind host port"), _port),
    _Text(("could not select device driver", "nvidia-container-cli", "nvidia-container-runtime",
           "unknown or invalid runtime name: nvidia", "failed to inject cdi", "unresolvable cdi",
           "libnvidia-ml"), _gpu),
    _Text(("bind source path does not exist", "invalid mount config"), _mount),
    _Text(("executable file not found", "exec format error", "exec: "), _program),
    _Text(("no space left on device",), _disk),
    _Text(("is already in use by container",), _name),
    _Text(("minimum memory limit", "memory limit should be", "memoryswap limit"), _memory),
    _Text(("no such image", "manifest unknown", "pull access denied", "repository does not exist"),
          _image_missing),
)  # fmt: skip
