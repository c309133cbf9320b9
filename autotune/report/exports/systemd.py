"""A systemd unit: the engine as a process, or its image under `docker run`."""

import shlex

from autotune.report.exports.command import docker_options
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Service
from autotune.report.exports.yaml_text import comment_lines
from autotune.report.untrusted import one_line


def systemd_unit(service: Service, *, release: str | None = None) -> str:
    """The text of `vllm.service`.

    Args:
        service: What to run.
        release: For the description.
    """
    docker = service.image is not None
    lines = [line for text in service.header for line in comment_lines(text)]
    lines += comment_lines(
        f"Install: copy {file_name('vllm.service', simulated=service.simulated)} to "
        "/etc/systemd/system/vllm.service, then "
        "`systemctl daemon-reload && systemctl enable --now vllm`"
    )
    title = one_line(f"vLLM {release or ''} serving {service.model}").replace("%", "%%")
    lines += ["", "[Unit]", f"Description={title}", "Wants=network-online.target"]
    lines += ["After=network-online.target" + (" docker.service" if docker else "")]
    lines += ["Requires=docker.service"] if docker else []
    lines += ["", "[Service]", "Type=exec"]
    if service.secrets:
        lines += comment_lines(
            f"{', '.join(service.secrets)}: put it into this file, readable by root only"
        )
        lines += ["EnvironmentFile=-/etc/default/vllm"]
    if not docker:
        for name, value in service.env.items():
            lines += comment_lines(service.env_reasons.get(name, ""))
            lines += [f"Environment={quoted(f'{name}={value}', command=False)}"]
    lines += [line for o in service.options for line in comment_lines(f"{o.flag}: {o.reason}")]
    program = service.arguments(host=service.bind_host, port=service.port)[0]
    if not docker and not program.startswith("/"):
        lines += comment_lines(
            f"{program} is looked for in systemd's own PATH. Of a virtual environment write the "
            f"whole path: /home/me/venv/bin/{program} in the place of the first two words."
        )
    lines += ["ExecStart=" + _command(service)]
    if docker:
        # Without force: it takes away what a power cut left, never something that runs.
        lines.insert(-1, "ExecStartPre=-/usr/bin/docker rm vllm")
        lines += ["ExecStop=/usr/bin/docker stop --time 30 vllm"]
    else:
        lines += ["LimitMEMLOCK=infinity"]
        if service.memory_limit_bytes is not None:
            lines += [f"MemoryMax={service.memory_limit_bytes}", "MemorySwapMax=0"]
    lines += ["Restart=on-failure", "RestartSec=10", "TimeoutStopSec=60"]
    lines += [f"TimeoutStartSec={round(service.startup_timeout_s)}"]
    lines += ["", "[Install]", "WantedBy=multi-user.target"]
    return "\n".join(lines) + "\n"


def quoted(text: str, *, command: bool = True) -> str:
    """One word of a unit file (systemd.service(5), "Command lines"; systemd.syntax(7)).

    Args:
        text: The word.
        command: Whether it stands in a command line, where $ is expanded too.
    """
    text = one_line(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if command else text}"'


def _command(service: Service) -> str:
    if service.image is None:
        program, *rest = service.arguments(host=service.bind_host, port=service.port)
        # Only an absolute program is found outside of systemd's own short path.
        first = [program] if program.startswith("/") else ["/usr/bin/env", program]
        return _joined([*first, *rest])
    ports = f"{service.bind_host}:{service.port}:{{}}"
    options = [word for option in docker_options(service, ports=ports, in_shell=False)
               for word in shlex.split(option)]  # fmt: skip
    _, *rest = service.arguments(host="0.0.0.0", port=service.container_port)  # noqa: S104 - inside the container
    image = service.pinned_image or ""
    return _joined(["/usr/bin/docker", "run", "--rm", "--init", *options, image, *rest])


def _joined(words: list[str]) -> str:
    return " \\\n  ".join(quoted(word) for word in words)
