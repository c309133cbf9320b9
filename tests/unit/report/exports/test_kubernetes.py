"""The Kubernetes manifest."""

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
import yaml

from autotune.report.exports.kubernetes import kubernetes_manifest
from autotune.report.exports.service import service_from
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, PROCESS
from tests.support.records import record


def documents(launch: LaunchPlan, *, simulated: bool = False) -> dict[str, Any]:
    """Documents by kind."""
    trial = record(5, config=CONFIGURATION, simulated=simulated)
    text = kubernetes_manifest(service_from(trial, launch, StudySpec()), release="0.33.0")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.mark.parametrize("launch", [DOCKER, PROCESS], ids=["docker", "process"])
def test_it_keeps_to_kubernetes_own_schemas(launch: LaunchPlan) -> None:
    """Checked strictly: an unknown key is an error."""
    made = documents(launch)
    assert set(made) == {"PersistentVolumeClaim", "Deployment", "Service"}
    for document in made.values():
        kubernetes_validate.validate(document, "1.31", strict=True)


def test_the_limits_of_the_study_hold_in_the_pod() -> None:
    """One GPU, the memory limit, a /dev/shm of the size it had."""
    pod = documents(DOCKER)["Deployment"]["spec"]["template"]["spec"]
    limits = pod["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": 1, "memory": str(DOCKER.memory_limit_bytes)}
    shm = {"medium": "Memory", "sizeLimit": str(DOCKER.shm_bytes)}
    assert {"name": "shm", "emptyDir": shm} in pod["volumes"]


def test_the_token_comes_from_a_secret() -> None:
    """By reference, and optional."""
    pod = documents(DOCKER)["Deployment"]["spec"]["template"]["spec"]
    token = pod["containers"][0]["env"][0]
    assert token["name"] == "HF_TOKEN"
    assert token["valueFrom"]["secretKeyRef"] == {
        "name": "vllm-secrets", "key": "HF_TOKEN", "optional": True,
    }  # fmt: skip


def test_the_service_does_not_become_the_engines_port() -> None:
    """A service called vllm would set VLLM_PORT=tcp://..., and vLLM refuses that (envs.py)."""
    made = documents(DOCKER)
    assert made["Service"]["metadata"]["name"] == "vllm"
    assert made["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_references_in_values_are_not_expanded() -> None:
    """Kubernetes' own $(NAME) is escaped."""
    launch = replace(DOCKER, argv=("vllm", "serve", "$(HOME)"))
    pod = documents(launch)["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][0] == "$$(HOME)"


def test_a_simulated_trial_is_marked() -> None:
    """On the object itself."""
    annotations = documents(DOCKER, simulated=True)["Deployment"]["metadata"]["annotations"]
    assert annotations["autotune/simulated"] == "true"
