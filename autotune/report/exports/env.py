"""`.env` beside the compose file: what one may want to change, in one place."""

from autotune.report.exports.service import Service, folder_variable
from autotune.report.exports.yaml_text import comment_lines


def variables(service: Service) -> dict[str, tuple[str, str]]:
    """Variable to (value, reason), the port and address first."""
    found = {
        "VLLM_PORT": (str(service.port), "port on the host"),
        "VLLM_BIND": (service.bind_host, "address on the host; 0.0.0.0 opens it to the network"),
    }
    if service.model_variable:
        found[service.model_variable] = (service.model, "what is served")
    for option in service.options:
        if option.variable:
            found[option.variable] = (option.value or "", option.reason)
    for mount in service.mounts:
        if variable := folder_variable(mount):
            found[variable] = (str(mount.source), f"folder on the host for {mount.target}")
    return found


def env_file(service: Service) -> str:
    """Lines of NAME=value with the reason above each; compose and a POSIX shell read it alike."""
    lines = [line for text in service.header for line in comment_lines(text)]
    for name, (value, reason) in variables(service).items():
        lines += ["", *comment_lines(reason), f"{name}={value}"]
    for secret in service.secrets:
        lines += [
            "",
            *comment_lines(
                f"{secret} is taken from the environment of whoever starts the service: "
                f"`export {secret}=...` before, or set it here and keep this file private."
            ),
            f"# {secret}=",
        ]
    return "\n".join(lines) + "\n"
