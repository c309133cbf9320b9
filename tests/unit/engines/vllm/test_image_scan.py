"""A Docker engine that is not there."""

import gc
import warnings

import pytest

from autotune.engines.vllm.image_scan import image_digest
from autotune.errors import DockerUnavailableError


def test_without_a_docker_engine_the_error_says_what_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket that nobody listens on."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    # docker 7.2 leaves the socket of a failed first call to the garbage collector.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        with pytest.raises(DockerUnavailableError) as caught:
            image_digest("vllm:x")
        assert "DOCKER_HOST" in caught.value.hint
        del caught
        gc.collect()
