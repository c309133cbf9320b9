"""Docker's errors in autotune's words: the table, and that it misses no class."""

import inspect
from typing import Any

import docker.errors
import pytest
import requests
import requests.exceptions
import urllib3.exceptions

from autotune.deployers.docker_errors import FOREIGN, is_passing, translated, translating
from autotune.errors import (
    DeployerError,
    DockerUnavailableError,
    ImageMissingError,
    PortInUseError,
)

CLASSES = [
    cls
    for _, cls in inspect.getmembers(docker.errors, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == "docker.errors"
]

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "BuildError": ("reason", []),
    "ContainerError": ("container", 1, "command", "image", b"stderr"),
}


def api_error(
    text: str, status: int = 500, cls: type[docker.errors.APIError] = docker.errors.APIError
) -> docker.errors.APIError:
    """An answer of the engine's, as the client raises it."""
    response = requests.Response()
    response.status_code = status
    return cls("server error", response=response, explanation=text)


def first_call(cause: str) -> docker.errors.DockerException:
    """What the client raises if its first call fails."""
    return docker.errors.DockerException(f"Error while fetching server API version: {cause}")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_of_the_client_is_translated(cls: type[Exception]) -> None:
    """No class of docker.errors gets past the border, and each comes out with a next step."""
    error = cls(*ARGUMENTS.get(cls.__name__, ("something",)))
    with pytest.raises(DeployerError) as raised, translating("testing"):
        raise error
    assert raised.value.hint
    assert raised.value.__cause__ is error


def test_the_list_of_classes_is_not_empty() -> None:
    """The test above has something to test."""
    assert len(CLASSES) > 15


# Texts seen on engine 20.10 and 28.2, or cited in moby's sources.
TEXTS: list[tuple[Exception, type[DeployerError], str]] = [
    (first_call("('Connection aborted.', PermissionError(13, 'Permission denied'))"),
     DockerUnavailableError, "usermod -aG docker"),
    (first_call("('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"),
     DockerUnavailableError, "systemctl start docker"),
    (first_call("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"),
     DockerUnavailableError, "systemctl start docker"),
    (requests.exceptions.ConnectionError("('Connection aborted.', "
                                         "RemoteDisconnected('Remote end closed connection'))"),
     DockerUnavailableError, "systemctl start docker"),
    (requests.exceptions.ReadTimeout("Read timed out. (read timeout=60)"),
     DockerUnavailableError, "systemctl start docker"),
    (urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead(0 bytes read)"),
     DockerUnavailableError, "systemctl start docker"),
    (BrokenPipeError(32, "Broken pipe"), DockerUnavailableError, "systemctl start docker"),
    (api_error("No such image: vllm/vllm-openai:v9", 404, docker.errors.ImageNotFound),
     ImageMissingError, "docker pull"),
    (api_error("manifest for vllm/vllm-openai:v9 not found: manifest unknown", 404),
     ImageMissingError, "docker pull"),
    (api_error("driver failed programming external connectivity on endpoint x: Bind for "
               "127.0.0.1:8000 failed: port is already allocated"), PortInUseError, "docker ps"),
    (api_error("driver failed programming external connectivity on endpoint x: Error starting "
               "userland proxy: listen tcp4 127.0.0.1:8000: bind: address already in use"),
     PortInUseError, "docker ps"),
    (api_error('could not select device driver "" with capabilities: [[gpu]]'),
     DeployerError, "NVIDIA Container Toolkit"),
    (api_error("OCI runtime create failed: runc create failed: unable to start container process: "
               "error running prestart hook #0: Auto-detected mode as 'legacy' "
               "nvidia-container-cli: initialization error: load library failed: "
               "libnvidia-ml.so.1: cannot open shared object file: no such file or directory"),
     DeployerError, "NVIDIA Container Toolkit"),
    (api_error('invalid mount config for type "bind": bind source path does not exist: /x', 400),
     DeployerError, "engine.mounts"),
    (api_error('OCI runtime create failed: unable to start container process: exec: "vllm": '
               "executable file not found in $PATH: unknown", 400), DeployerError,
     "engine.command"),
    (api_error('OCI runtime create failed: unable to start container process: exec: "/x": '
               "permission denied: unknown"), DeployerError, "engine.command"),
    (api_error("write /var/lib/docker/tmp/x: no space left on device"), DeployerError,
     "docker system df"),
    (api_error('Conflict. The container name "/x" is already in use by container "y".', 409),
     DeployerError, "docker ps -a"),
    (api_error("Minimum memory limit allowed is 6MB", 400), DeployerError, "headroom"),
    (api_error("something new"), DeployerError, "docker info"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "cls", "hint"), TEXTS, ids=lambda value: str(value)[:40])
def test_a_text_is_understood(error: Exception, cls: type[DeployerError], hint: str) -> None:
    """Each of the engine's texts becomes the right error, with the command that mends it."""
    assert isinstance(error, FOREIGN)
    found = translated(error, "testing")
    assert type(found) is cls
    assert hint in found.hint
    shown = getattr(error, "explanation", None) or str(error)
    assert shown in found.message


def test_waiting_helps_against_absence_only() -> None:
    """An engine that is away may come back; missing rights and refusals stay what they are."""
    passing = [error for error, _, _ in TEXTS if is_passing(error)]
    assert all(isinstance(translated(error), DockerUnavailableError) for error in passing)
    assert len(passing) == 6
    rights = TEXTS[0][0]
    assert not is_passing(rights)


def test_what_is_translated_is_not_translated_again() -> None:
    """One of autotune's own errors passes as it is."""
    own = PortInUseError("taken", hint="look")
    assert translated(own) is own
    with pytest.raises(PortInUseError) as raised, translating("testing"):
        raise own
    assert raised.value is own


def test_a_bug_is_not_dockers() -> None:
    """An error of our own code goes through untouched."""
    with pytest.raises(LookupError), translating("testing"):
        raise LookupError
