"""A Kubernetes Deployment with its Service and the claim for its caches."""

from typing import Any, Final

from autotune.report.exports.compose import fallback_image, served_mounts
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Service
from autotune.report.exports.yaml_text import Commented, comment_lines, to_yaml

_CACHES: Final = {"/root/.cache": "root"}
"""Folders in the container that the claim holds, and their names in it."""

_LABELS: Final = {"app.kubernetes.io/name": "vllm"}


def kubernetes_manifest(service: Service, *, release: str | None = None) -> str:
    """Three documents: PersistentVolumeClaim, Deployment, Service.

    Args:
        service: What to run.
        release: The engine's release: names an image where the trial ran as a process.
    """
    head = [line for text in service.header for line in comment_lines(text)]
    file = file_name("kubernetes.yaml", simulated=service.simulated)
    head += comment_lines(f"Start: kubectl apply -f {file}")
    documents = (_claim(), _deployment(service, release), _service(service))
    return "\n".join(head) + "\n" + "---\n".join(to_yaml(document) for document in documents)


def _metadata(service: Service | None = None) -> dict[str, Any]:
    if service is None:
        return {"name": "vllm", "labels": _LABELS}
    origin = {"autotune/study": service.study, "autotune/trial": str(service.trial)}
    if service.simulated:
        origin["autotune/simulated"] = "true"
    return {"name": "vllm", "labels": _LABELS, "annotations": origin}


def _claim() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "vllm-cache", "labels": _LABELS},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {
                "requests": {"storage": Commented("100Gi", "weights and compiled kernels")}
            },
        },
    }


def _deployment(service: Service, release: str | None) -> dict[str, Any]:
    pod = {
        "enableServiceLinks": Commented(
            False,
            "with them Kubernetes sets VLLM_PORT to the address of the service `vllm`, and vLLM, "
            "which takes it for a port of its own, does not start again",
        ),
        "containers": [_container(service, release)],
        "volumes": _volumes(service),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(service),
        "spec": {
            "replicas": 1,
            "strategy": Commented(
                {"type": "Recreate"}, "a second copy would not fit beside the first on one GPU"
            ),
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": pod},
        },
    }


def _container(service: Service, release: str | None) -> dict[str, Any]:
    return {
        "name": "vllm",
        "image": service.pinned_image or fallback_image(release),
        "command": list(map(_escaped, service.container_program)),
        "args": _arguments(service),
        "env": _environment(service),
        "ports": [{"name": "http", "containerPort": service.container_port}],
        "resources": {"limits": _limits(service)},
        "volumeMounts": _volume_mounts(service),
        "startupProbe": Commented(
            {**_probe(service), "failureThreshold": max(1, round(service.startup_timeout_s / 10))},
            "as long as a start may take in the study",
        ),
        "readinessProbe": _probe(service),
        "livenessProbe": {**_probe(service), "failureThreshold": 6},
    }


def _arguments(service: Service) -> list[Any]:
    listed: list[Any] = [_escaped(service.model)]
    for option in service.options:
        text = option.flag if option.value is None else f"{option.flag}={option.value}"
        listed.append(Commented(_escaped(text), option.reason))
    return [*listed, "--host=0.0.0.0", f"--port={service.container_port}"]


def _escaped(text: str) -> str:
    """Text in which Kubernetes expands no $(NAME)."""
    return text.replace("$(", "$$(")


def _environment(service: Service) -> list[Any]:
    found: list[Any] = [
        Commented(
            {"name": secret, "valueFrom": {"secretKeyRef": {
                "name": "vllm-secrets", "key": secret, "optional": True}}},
            f"kubectl create secret generic vllm-secrets --from-literal={secret}=...",
        )
        for secret in service.secrets
    ]  # fmt: skip
    for name, value in service.env.items():
        entry = {"name": name, "value": _escaped(value)}
        found.append(Commented(entry, service.env_reasons.get(name, "")))
    return found


def _limits(service: Service) -> dict[str, Any]:
    limits: dict[str, Any] = {"nvidia.com/gpu": 1} if service.gpus else {}
    if service.memory_limit_bytes is not None:
        limits["memory"] = Commented(
            str(service.memory_limit_bytes), "as in the study; /dev/shm counts towards it"
        )
    return limits


def _volumes(service: Service) -> list[Any]:
    found: list[Any] = [
        {"name": "cache", "persistentVolumeClaim": {"claimName": "vllm-cache"}},
    ]
    if service.shm_bytes is not None:
        memory = {"medium": "Memory", "sizeLimit": str(service.shm_bytes)}
        why = "as in the study" if service.image is not None else "64 MiB are too small for vLLM"
        found.append(Commented({"name": "shm", "emptyDir": memory}, why))
    for index, mount in enumerate(_host_mounts(service)):
        found.append({"name": f"host-{index}", "hostPath": {"path": str(mount.source)}})
    return found


def _volume_mounts(service: Service) -> list[Any]:
    found: list[Any] = [
        {"name": "cache", "mountPath": target, "subPath": name} for target, name in _CACHES.items()
    ]
    if service.shm_bytes is not None:
        found.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - inside the pod
    for index, mount in enumerate(_host_mounts(service)):
        entry: dict[str, Any] = {"name": f"host-{index}", "mountPath": mount.target}
        found.append({**entry, "readOnly": True} if mount.read_only else entry)
    return found


def _host_mounts(service: Service) -> list[Any]:
    """Mounts that the claim for caches does not stand for."""
    return [m for m in served_mounts(service) if not m.target.startswith(tuple(_CACHES))]


def _probe(service: Service) -> dict[str, Any]:
    return {
        "httpGet": {"path": service.health_path, "port": "http"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(),
        "spec": {
            "type": Commented("ClusterIP", "reached inside the cluster only"),
            "selector": _LABELS,
            "ports": [{"name": "http", "port": service.port, "targetPort": "http"}],
        },
    }
