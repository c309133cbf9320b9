"""What this machine has that a test could need: real vLLM, a Docker engine, a GPU."""

import gc
import os
import warnings
from functools import cache
from pathlib import Path

import docker
import docker.errors
import pynvml
from requests.exceptions import RequestException

VLLM_VARIABLE = "AUTOTUNE_E2E_VLLM"
OTHER_VLLM_VARIABLE = "AUTOTUNE_E2E_OTHER_VLLM"
MODEL_VARIABLE = "AUTOTUNE_E2E_MODEL"
IMAGE = "autotune-e2e:local"


def vllm_environment() -> Path:
    """The virtual environment that holds vLLM; see `.ci/vllm_cpu.sh`."""
    return Path(os.environ[VLLM_VARIABLE])


def other_vllm() -> Path | None:
    """Another release of vLLM; None if there is none."""
    folder = os.environ.get(OTHER_VLLM_VARIABLE)
    return Path(folder).resolve() if folder and (Path(folder) / "bin/vllm").is_file() else None


def model_folder() -> Path:
    """The small model; see `.ci/tiny_model.py`."""
    return Path(os.environ[MODEL_VARIABLE])


@cache
def no_vllm() -> str | None:
    """Why there is no real vLLM to test with; None if there is one."""
    for variable, what in ((VLLM_VARIABLE, "bin/vllm"), (MODEL_VARIABLE, "config.json")):
        folder = os.environ.get(variable)
        if not folder:
            return f"{variable} is not set; `.ci/run` installs vLLM and a model and sets it"
        if not (Path(folder) / what).is_file():
            return f"{variable}={folder} holds no {what}"
    return None


@cache
def no_docker() -> str | None:
    """Why there is no Docker engine to test with; None if there is one."""
    reason = None
    try:
        docker.from_env(timeout=10).close()  # asks for the engine's version
    except (docker.errors.DockerException, RequestException) as error:
        reason = f"no Docker engine answers ({type(error).__name__})"
    if reason is not None:
        # docker 7.2 drops the socket of a failed first call unclosed. Collected now, its warning
        # does not come up in the middle of some other test.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()
    return reason


@cache
def no_image() -> str | None:
    """Why the image for vLLM is not there; None if it is. Asks the engine: `no_docker` first."""
    client = docker.from_env(timeout=10)
    try:
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        return f"the image {IMAGE} is not there; `.ci/docker_image.sh` builds it"
    finally:
        client.close()
    return None


@cache
def no_gpu() -> str | None:
    """Why there is no NVIDIA GPU to test with; None if there is one."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"no NVIDIA GPU ({error})"
    try:
        return None if pynvml.nvmlDeviceGetCount() else "no NVIDIA GPU"
    finally:
        pynvml.nvmlShutdown()


@cache
def no_figures() -> str | None:
    """Why whole commands are not timed here; None if they are."""
    wanted = os.environ.get("AUTOTUNE_E2E_FIGURES")
    return None if wanted else "AUTOTUNE_E2E_FIGURES is not set; `.ci/run` sets it"
