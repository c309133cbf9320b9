"""`docker-compose.yml` in the shape of an ordinary vLLM service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autotune.report.exports.env import variables
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Option, Service, folder_variable
from autotune.report.exports.yaml_text import Commented, comment_lines, to_yaml
from autotune.seams.deployment import Mount
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

_GPU_IMAGE: Final = "vllm/vllm-openai"
_CPU_IMAGE: Final = "vllm/vllm-openai-cpu"

_HUGGING_FACE: Final = "/root/.cache/huggingface"
ENGINE_CACHES: Final = "/root/.cache/vllm"
"""vLLM's own place for compiled graphs and kernels in its images (envs.py, VLLM_CACHE_ROOT)."""


def compose_file(service: Service, *, release: str | None = None) -> str:
    """The file, with a reason above each setting.

    Args:
        service: What to run.
        release: The engine's release: names an image where the trial ran as a process.
    """
    head = [line for text in service.header for line in comment_lines(text)]
    file = ""
    if service.simulated:  # compose reads a `.env` by itself and no other
        names = [file_name(name, simulated=True) for name in (".env", "docker-compose.yml")]
        file = "--env-file {} -f {} ".format(*names)
    head += comment_lines(f"Start: docker compose {file}up -d")
    head += comment_lines(f"Stop:  docker compose {file}down")
    body = {"services": {"vllm": _service(service, release)}}
    return "\n".join(head) + "\n" + to_yaml(body)


def escaped(text: str) -> str:
    """Text that compose does not interpolate."""
    return text.replace("$", "$$")


def size(size_bytes: int) -> str:
    """A size in compose's and Docker's notation, exact."""
    for unit, factor in (("g", BYTES_PER_GIB), ("m", BYTES_PER_MIB)):
        if size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}b"


def _service(service: Service, release: str | None) -> dict[str, Any]:
    published = f"${{VLLM_BIND:-{service.bind_host}}}:${{VLLM_PORT:-{service.port}}}"
    found: dict[str, Any] = {
        "image": _image(service, release),
        "container_name": "vllm",
        "restart": Commented("unless-stopped", "comes back after a crash and after a reboot"),
        "ports": [f"{published}:{service.container_port}"],
        "volumes": _volumes(service),
        "environment": _environment(service),
        "entrypoint": list(map(escaped, service.container_program)),
        "command": _command(service),
        "ipc": Commented(
            "private",
            "The engine's processes share memory with each other only, inside this container. A "
            "private /dev/shm of a set size keeps a KV offload from filling the host's, which "
            "`ipc: host` would let it do.",
        ),
    }
    if service.shm_bytes is not None:
        said = "Docker's 64 MiB are too small for vLLM"
        said = said if service.image is None else f"as in the study: {said}"
        found["shm_size"] = Commented(size(service.shm_bytes), said)
    if service.memory_limit_bytes is not None:
        limit = size(service.memory_limit_bytes)
        found["mem_limit"] = Commented(
            limit, "as in the study: what the host keeps for itself is not touched"
        )
        found["memswap_limit"] = Commented(limit, "no swap on top: a KV cache in swap is no cache")
    found["ulimits"] = Commented(
        {"memlock": {"soft": -1, "hard": -1}, "stack": {"soft": 67108864, "hard": 67108864}},
        "pinned host memory for KV offload needs memlock; NCCL's threads need the stack",
    )
    if service.gpus:
        device = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        found["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    found["healthcheck"] = _healthcheck(service)
    found["stop_grace_period"] = "30s"
    return found


def _image(service: Service, release: str | None) -> Any:
    if service.pinned_image is not None:
        image = escaped(service.pinned_image)
        return Commented(image, "pinned by digest") if "@" in image else image
    return Commented(
        fallback_image(release),
        "Nothing was measured in this image: the engine was simulated."
        if service.simulated
        else "The study ran the engine as a process, not in a container; this image is of the same "
        "release but was not measured.",
    )


def fallback_image(release: str | None) -> str:
    """VLLM's own image of a release, on Docker Hub; for the CPU it is another one.

    `deployment/docker.md` and `getting_started/installation/cpu.md` of vLLM 0.33.0.
    """
    if release is None:
        return f"{_GPU_IMAGE}:latest"
    number, _, build = release.partition("+")
    return f"{_CPU_IMAGE if 'cpu' in build else _GPU_IMAGE}:v{number}"


def _volumes(service: Service) -> list[Any]:
    """The trial's folders, and those of an ordinary service that it has none for."""
    listed: list[Any] = [_bind(mount) for mount in served_mounts(service)]
    targets = [mount.target for mount in service.mounts]
    wanted = {
        _HUGGING_FACE: ("./cache", "weights are downloaded once"),
        ENGINE_CACHES: ("./vllm-cache", "compiled graphs and kernels outlive the container"),
    }
    for target, (source, reason) in wanted.items():
        if target not in targets:
            made = {
                "type": "bind",
                "source": source,
                "target": target,
                "bind": {"create_host_path": True},
            }
            listed.append(Commented(made, reason))
    return listed


def served_mounts(service: Service) -> tuple[Mount, ...]:
    """The trial's mounts; of a trial without a container, the model's folder."""
    model = Path(service.model)
    if service.image is None and model.is_absolute():
        return (Mount(source=model, target=service.model, read_only=True),)
    return service.mounts


def _bind(mount: Mount) -> dict[str, Any]:
    variable = folder_variable(mount)
    source = escaped(str(mount.source))
    found: dict[str, Any] = {
        "type": "bind",
        "source": f"${{{variable}:-{source}}}" if variable else source,
        "target": escaped(mount.target),
    }
    if mount.read_only:
        found["read_only"] = True
    else:
        found["bind"] = {"create_host_path": True}
    return found


def _environment(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = {
        secret: Commented(f"${{{secret}:-}}", "a secret, by reference: from the shell or .env")
        for secret in service.secrets
    }
    for name in service.passthrough:
        if name not in found:  # compose passes it on if it is set, and sets nothing if not
            found[name] = Commented(None, "from the shell or .env, where it is set")
    for name, value in service.env.items():
        found[name] = Commented(escaped(value), service.env_reasons.get(name, ""))
    return found


def _command(service: Service) -> list[Any]:
    known = variables(service)
    model = escaped(service.model)
    return [
        f"${{{service.model_variable}:-{model}}}" if service.model_variable else model,
        *(Commented(_argument(option, known), option.reason) for option in service.options),
        Commented("--host=0.0.0.0", "inside the container; `ports` says who reaches it"),
        f"--port={service.container_port}",
    ]


def _argument(option: Option, known: Mapping[str, tuple[str, str]]) -> str:
    if option.value is None:
        return escaped(option.flag)
    if option.variable in known:
        return f"{option.flag}=${{{option.variable}:-{option.value}}}"
    return f"{option.flag}={escaped(option.value)}"


def _healthcheck(service: Service) -> dict[str, Any]:
    url = f"http://127.0.0.1:{service.container_port}{service.health_path}"
    python = f"import urllib.request as u; u.urlopen('{url}', timeout=4)"
    return {
        "test": ["CMD-SHELL", f'curl -fsS {url} || python3 -c "{python}"'],
        "interval": "10s",
        "timeout": "10s",
        "retries": 3,
        "start_period": f"{round(service.startup_timeout_s)}s",
    }
