"""What lies in `recommended/`, as a plan that a deployer runs."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autotune.errors import UsageError
from autotune.report.exports.compose_reader import env_values, launch_from_compose
from autotune.report.exports.env import variables
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Service, written_for
from autotune.seams.deployment import LaunchPlan

DOCKER: Final = "docker"
PROCESS: Final = "process"
_PORT: Final = "VLLM_PORT"
_BIND: Final = "VLLM_BIND"


@dataclass(frozen=True, kw_only=True)
class ExportedFiles:
    """The exported files of one trial.

    Attributes:
        deployer: "docker", "process" or "simulated": decides which file is started.
        start: The file that is started.
        trial: The number of the trial that they were written for.
        passthrough: Variables that a process takes from the controller's environment.
    """

    deployer: str
    start: Path
    trial: int
    passthrough: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """What is deployed: the file that is started and the `.env` beside it."""
        simulated = self.deployer not in {DOCKER, PROCESS}
        env = self.start.with_name(file_name(".env", simulated=simulated))
        return (self.start, env) if env.is_file() else (self.start,)

    def digests(self) -> dict[str, str]:
        """Name to SHA-256 of each file, so that a later change of it shows."""
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in self.files}

    def plan(self, port: int) -> LaunchPlan:
        """The start of the files as they are, on a port of the controller's choice.

        Only VLLM_PORT comes from outside. Of the other variables that the files name, those of
        the calling shell are kept out: they would win over the files.

        Raises:
            SpecError: If the compose file is not of the kind that `autotune export` writes.
        """
        if self.deployer == PROCESS:
            return self._script(port)
        plan = launch_from_compose(self.start, {_PORT: str(port)})
        if self.deployer == DOCKER:
            return plan
        # The simulated engine is no container: it is told the command and the variables.
        return replace(plan, image=None, mounts=(), shm_bytes=None, memory_limit_bytes=None)

    def _script(self, port: int) -> LaunchPlan:
        written = env_values(self.start.parent)
        # An empty variable counts as unset in the script (`${name:-...}`), so the file's wins.
        env = {**dict.fromkeys(written, ""), _PORT: str(port)}
        return LaunchPlan(
            argv=("sh", str(self.start)),
            env=env,
            env_passthrough=self.passthrough,
            bind_host=written.get(_BIND) or "127.0.0.1",
            port=port,
        )


def exported_files(folder: Path, *, deployer: str) -> ExportedFiles:
    """Find the files that a study's recommendation was written to.

    Args:
        folder: `studies/NAME/recommended`.
        deployer: The study's.

    Raises:
        UsageError: If they are not there, or do not say which trial they are.
    """
    name = "serve.sh" if deployer == PROCESS else "docker-compose.yml"
    start = folder / file_name(name, simulated=deployer not in {DOCKER, PROCESS})
    study = folder.parent.name
    hint = f"`autotune recommend {study}` writes it."
    if not start.is_file():
        message = f"{start} is not there"
        raise UsageError(message, hint=hint)
    trial = written_for(start.read_text(encoding="utf-8", errors="replace"))
    if trial is None:
        message = f"{start} does not say which trial it was written for"
        raise UsageError(message, hint=hint)
    return ExportedFiles(deployer=deployer, start=start.absolute(), trial=trial)


def require_unchanged(files: ExportedFiles, service: Service) -> None:
    """Make sure that `.env` has the settings of the trial; ports and folders are free.

    With another setting the trial's figures would be held against another configuration.

    Args:
        files: As found.
        service: What the trial is exported to.

    Raises:
        UsageError: Naming the first variable that differs.
    """
    written = env_values(files.start.parent)
    settings = {o.variable for o in service.options if o.variable} | {service.model_variable}
    for name, (value, _) in variables(service).items():
        if name in settings and written.get(name, value) != value:
            message = (
                f"{name}={written[name]} in {files.files[-1].name}: trial {files.trial} was "
                f"measured with {value}"
            )
            hint = (
                f"`autotune recommend {service.study} --force` writes it again; `autotune probe "
                f"URL` measures a server with settings of your own."
            )
            raise UsageError(message, hint=hint)
