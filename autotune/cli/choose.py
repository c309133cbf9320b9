"""Which engine and deployer a study gets on the machine that is found.

| machine | `--engine` left out |
|---|---|
| NVIDIA GPU and a usable Docker | vLLM in Docker |
| NVIDIA GPU, Docker not usable | an error that says what to do |
| no GPU | the simulated engine, announced and marked |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autotune.errors import HostError, UsageError
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec

DEFAULT_IMAGE: Final = "vllm/vllm-openai:v0.33.0"

SIMULATED_BANNER: Final = (
    "SIMULATED: no NVIDIA GPU was found, so a simulated engine stands in for one. "
    "Its figures are predictions of a model, not measurements."
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A study whose engine and deployer are named.

    Attributes:
        banner: What must be said before anything else, or empty.
    """

    spec: StudySpec
    banner: str = ""


def choose(spec: StudySpec, hardware: Hardware, *, require_docker: Callable[[], None]) -> Choice:
    """Name what the study left open.

    Args:
        spec: As declared.
        hardware: As found.
        require_docker: Returns if Docker can be used.

    Raises:
        DeployerError: What `require_docker` raised, where Docker is needed.
        HostError: If a container shall get a GPU and there is none.
        UsageError: If engine and deployer do not go together.
    """
    name, deployer = spec.engine.name, spec.engine.deployer
    if name is None:
        if deployer in {"docker", "process"} or (deployer is None and hardware.gpus):
            name = "vllm"
        else:
            name = "simulated"
    if name == "simulated":
        if deployer not in {None, "simulated"}:
            message = f"the simulated engine is not started by the deployer {deployer!r}"
            raise UsageError(message, hint="Leave --deployer out, or choose --engine vllm.")
        banner = (
            SIMULATED_BANNER
            if spec.engine.name is None
            else SIMULATED_BANNER.replace(
                "no NVIDIA GPU was found, so a simulated engine stands in for one. ",
                "a simulated engine stands in for the real one. ",
            )
        )
        return Choice(spec=_named(spec, name="simulated", deployer="simulated"), banner=banner)
    if deployer == "simulated":
        message = "vLLM is not started by the deployer 'simulated'"
        raise UsageError(message, hint="Choose --deployer docker or process.")
    if deployer is None:
        deployer = "docker" if hardware.gpus or spec.engine.image else "process"
    if deployer == "docker":
        _require_gpu(spec, hardware)
        require_docker()
    return Choice(spec=_named(spec, name="vllm", deployer=deployer))


def _require_gpu(spec: StudySpec, hardware: Hardware) -> None:
    """A container of a CUDA image without a GPU only fails after its image was fetched.

    Raises:
        HostError: If the study hands GPUs to containers and there is none.
    """
    if spec.engine.gpus and not hardware.gpus:
        message = "no NVIDIA GPU was found, and this study runs vLLM on one"
        hint = "`autotune doctor` says what is missing; --engine simulated needs no GPU; an image "
        hint += "for the CPU needs engine.gpus: false in the study file."
        raise HostError(message, hint=hint)


def _named(spec: StudySpec, *, name: str, deployer: str) -> StudySpec:
    image = spec.engine.image
    if deployer == "docker" and image is None:
        image = DEFAULT_IMAGE
    engine = spec.engine.model_copy(update={"name": name, "deployer": deployer, "image": image})
    return spec.model_copy(update={"engine": engine})
