"""The files of each format that a trial's configuration is exported to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from autotune.report.exports.command import docker_script, serve_script
from autotune.report.exports.compose import compose_file
from autotune.report.exports.env import env_file
from autotune.report.exports.kubernetes import kubernetes_manifest
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Service
from autotune.report.exports.systemd import systemd_unit

Format = Literal["compose", "env", "command", "kubernetes", "systemd"]

FORMATS: Final[tuple[Format, ...]] = ("compose", "env", "command", "kubernetes", "systemd")


@dataclass(frozen=True, kw_only=True)
class Export:
    """One file, not yet written."""

    name: str
    text: str
    executable: bool = False


def export(service: Service, form: Format, *, release: str | None = None) -> tuple[Export, ...]:
    """The files of one format.

    Args:
        service: What to run.
        form: Which format.
        release: The engine's release, where it is known.
    """
    return _WRITERS[form](service, release)


def _compose(service: Service, release: str | None) -> tuple[Export, ...]:
    name = file_name("docker-compose.yml", simulated=service.simulated)
    return (Export(name=name, text=compose_file(service, release=release)),)


def _env(service: Service, _release: str | None) -> tuple[Export, ...]:
    name = file_name(".env", simulated=service.simulated)
    return (Export(name=name, text=env_file(service)),)


def _command(service: Service, _release: str | None) -> tuple[Export, ...]:
    env_name = file_name(".env", simulated=service.simulated)
    scripts = [("serve.sh", serve_script(service, env_name=env_name))]
    if service.image is not None:
        scripts.append(("docker-run.sh", docker_script(service, env_name=env_name)))
    return tuple(
        Export(name=file_name(name, simulated=service.simulated), text=text, executable=True)
        for name, text in scripts
    )


def _kubernetes(service: Service, release: str | None) -> tuple[Export, ...]:
    name = file_name("kubernetes.yaml", simulated=service.simulated)
    return (Export(name=name, text=kubernetes_manifest(service, release=release)),)


def _systemd(service: Service, release: str | None) -> tuple[Export, ...]:
    name = file_name("vllm.service", simulated=service.simulated)
    return (Export(name=name, text=systemd_unit(service, release=release)),)


_WRITERS: Final[Mapping[Format, Callable[[Service, str | None], tuple[Export, ...]]]] = {
    "compose": _compose,
    "env": _env,
    "command": _command,
    "kubernetes": _kubernetes,
    "systemd": _systemd,
}
