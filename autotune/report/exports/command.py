"""Plain commands: `serve.sh` for an engine that is installed, `docker-run.sh` for its image."""

import shlex

from autotune.report.exports.compose import ENGINE_CACHES, size
from autotune.report.exports.env import variables
from autotune.report.exports.service import Service, folder_variable
from autotune.report.exports.yaml_text import comment_lines

_ENV_FILE = """\
here=$(dirname -- "$0")
if [ -f "$here/{env}" ]; then
  # What is set in the calling shell wins over the file, as with docker compose.
  while IFS='=' read -r name value; do
    case $name in '' | *[!A-Z0-9_]*) continue ;; esac
    eval "export $name=\\"\\${{$name:-\\$value}}\\""
  done < "$here/{env}"
fi
"""


def serve_script(service: Service, *, env_name: str = ".env") -> str:
    """A POSIX shell script that runs the engine in the foreground on this machine.

    Args:
        service: What to run.
        env_name: Name of the `.env` file that it reads, if it lies beside the script.
    """
    lines = _head(service, env_name)
    # From VLLM_PORT on vLLM looks for ports between its processes (envs.py); no trial had it set.
    lines += ["# The engine takes VLLM_PORT for ports of its own, so it does not get to see it."]
    lines += ["port=$VLLM_PORT", "unset VLLM_PORT"]
    for name, value in service.env.items():
        lines += [*comment_lines(service.env_reasons.get(name, "")),
                  f"export {name}={shlex.quote(value)}"]  # fmt: skip
    lines += ["", *_reasons(service), "exec \\"]
    lines += _continued([
        *(shlex.quote(part) for part in service.program),
        _model(service),
        *_options(service),
        '--host "$VLLM_BIND"',
        '--port "$port"',
    ])  # fmt: skip
    return "\n".join(lines) + "\n"


def docker_script(service: Service, *, env_name: str = ".env") -> str:
    """A POSIX shell script that runs the image with `docker run`, in the foreground.

    Args:
        service: One with an image.
        env_name: Name of the `.env` file that it reads, if it lies beside the script.
    """
    lines = [*_head(service, env_name), *_folders(service), "", *_reasons(service), "exec \\"]
    lines += _continued([
        "docker run --rm --init",
        *docker_options(service, ports='"$VLLM_BIND:$VLLM_PORT:{}"', in_shell=True),
        shlex.quote(service.pinned_image or ""),
        *(shlex.quote(part) for part in service.program[1:]),
        _model(service),
        *_options(service),
        f"--host 0.0.0.0 --port {service.container_port}",
    ])  # fmt: skip
    return "\n".join(lines) + "\n"


def docker_options(service: Service, *, ports: str, in_shell: bool) -> list[str]:
    """Options of `docker run` before the image, quoted for a shell.

    Args:
        service: One with an image.
        ports: Published ports, with {} for the container's.
        in_shell: Whether variables of the `.env` file are there.
    """
    found = [
        "--name vllm",
        "--entrypoint " + shlex.quote(service.program[0]),
        "--publish " + ports.format(service.container_port),
        "--ipc private",
        "--ulimit memlock=-1 --ulimit stack=67108864",
    ]
    if service.gpus:
        found.append("--gpus all")
    if service.shm_bytes is not None:
        found.append(f"--shm-size {size(service.shm_bytes)}")
    if service.memory_limit_bytes is not None:
        limit = size(service.memory_limit_bytes)
        found.append(f"--memory {limit} --memory-swap {limit}")
    for mount in service.mounts:
        access = ",readonly" if mount.read_only else ""
        rest = f",target={mount.target}{access}"
        variable = folder_variable(mount)
        if in_shell and variable:
            found.append(f'--mount "type=bind,source=${variable}"{shlex.quote(rest)}')
        else:
            found.append("--mount " + shlex.quote(f"type=bind,source={mount.source}{rest}"))
    if ENGINE_CACHES not in [mount.target for mount in service.mounts]:
        # Compiled graphs and kernels outlive the container.
        found.append(f"--mount type=volume,source=vllm-cache,target={ENGINE_CACHES}")
    found += [f"--env {shlex.quote(f'{k}={v}')}" for k, v in service.env.items()]
    # Without a value: Docker takes it from the caller's environment, and it shows in no `ps`.
    found += [f"--env {name}" for name in service.passthrough]
    return found


def _head(service: Service, env_name: str) -> list[str]:
    lines = ["#!/bin/sh", *(line for text in service.header for line in comment_lines(text))]
    lines += ["set -eu", *_ENV_FILE.format(env=env_name).splitlines()]
    lines += [f': "${{{name}:={value}}}"' for name, (value, _) in variables(service).items()]
    return lines


def _folders(service: Service) -> list[str]:
    """`--mount` makes no folder on the host, unlike compose."""
    found = []
    for mount in service.mounts:
        if not mount.read_only:
            variable = folder_variable(mount)
            found.append(f'"${variable}"' if variable else shlex.quote(str(mount.source)))
    return [f"mkdir -p -- {' '.join(found)}"] if found else []


def _reasons(service: Service) -> list[str]:
    """A command that goes over several lines holds no comments, so they stand above it."""
    return [line for o in service.options for line in comment_lines(f"{o.flag}: {o.reason}")]


def _model(service: Service) -> str:
    return f'"${service.model_variable}"' if service.model_variable else shlex.quote(service.model)


def _options(service: Service) -> list[str]:
    found = []
    for option in service.options:
        if option.value is None:
            found.append(shlex.quote(option.flag))
        elif option.variable:
            found.append(f'{option.flag} "${option.variable}"')
        else:
            found.append(f"{option.flag} {shlex.quote(option.value)}")
    return found


def _continued(parts: list[str]) -> list[str]:
    return [f"  {part} \\" for part in parts[:-1]] + [f"  {parts[-1]}"]
