"""Every prerequisite of a study: its state, what follows from it, and the command that mends it.

`doctor_facts.gather` looks at the machine; `checks` is pure, so every verdict can be tested. What
is missing for one study is no more than a warning for another: a simulated one needs no GPU.
"""

from collections.abc import Callable, Iterator
from typing import Final

from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_facts import Facts
from autotune.cli.doctor_gpu import gpu_checks
from autotune.spec.study import StudySpec
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

IMAGE_GIB: Final = 30.0
"""A CUDA image of vLLM unpacked (about 20 GB), with room to unpack it."""
_ENGINE_GIB: Final = 8.0
"""Host memory of an engine without an offload (some 5 GiB), with room to load weights."""
WEIGHTS_GIB: Final = 40.0
"""Weights of the models that fit a consumer card, and of a second one."""


def checks(facts: Facts, spec: StudySpec) -> tuple[Check, ...]:
    """The verdicts, worst consequences first within each subject."""
    return tuple(check for look in _LOOKS for check in look(facts, spec))


def _docker(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    is_needed = facts.deployer == "docker"
    if facts.docker is None:
        error = facts.docker_error
        yield Check(
            name="Docker",
            state=State.MISSING if is_needed else State.WARNING,
            found="not usable" if error is None else error.message,
            consequence=(
                "this study starts vLLM in a container, and refuses to start without Docker; "
                "--deployer process uses an installed vLLM"
                if is_needed
                else "no study can start vLLM in a container"
            ),
            mend="install Docker" if error is None else error.hint,
        )
        return
    yield Check(name="Docker", state=State.OK, found=f"engine {facts.docker.release}")
    if facts.hardware.gpus and "nvidia" not in facts.docker.runtimes:
        yield Check(
            name="NVIDIA container toolkit",
            state=State.MISSING if is_needed else State.WARNING,
            found="Docker has no runtime `nvidia`",
            consequence="containers do not see the GPU",
            mend="install nvidia-container-toolkit, then "
            "`sudo nvidia-ctk runtime configure --runtime=docker` and restart Docker",
        )
    elif facts.hardware.gpus:
        yield Check(name="NVIDIA container toolkit", state=State.OK, found="runtime `nvidia`")
    if not is_needed:
        return
    if spec.engine.image is not None and facts.docker.image_bytes is None:
        yield Check(
            name="image",
            state=State.MISSING,
            found=f"{spec.engine.image} is not on this machine",
            consequence="no trial can start",
            mend=f"docker pull {spec.engine.image}",
        )
    elif spec.engine.image is not None:
        yield Check(name="image", state=State.OK, found=spec.engine.image)


def _program(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    """The serve command of a study that starts it as a process."""
    if facts.deployer != "process":
        return
    name = spec.engine.command[0]
    yield Check(
        name="engine",
        state=State.OK if facts.program else State.MISSING,
        found=facts.program or f"there is no program {name!r} on the PATH",
        consequence="" if facts.program else "no trial can start",
        mend=""
        if facts.program
        else "`pip install vllm`, or name its path in the study file's engine.command",
    )


def _model(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    """The model's own files: without them there is no study of any kind."""
    error = facts.model_error
    yield Check(
        name="model",
        state=State.OK if error is None else State.MISSING,
        found=f"{spec.model} ({facts.model_source})" if error is None else error.message,
        consequence="" if error is None else "the study refuses to start",
        mend="" if error is None else error.hint,
    )


def _results(facts: Facts, _spec: StudySpec) -> Iterator[Check]:
    if facts.results_error:
        yield Check(
            name="results",
            state=State.MISSING,
            found=facts.results_error,
            consequence="the study has nowhere to write to",
            mend="start it in a folder of your own",
        )


def _disk(facts: Facts, _spec: StudySpec) -> Iterator[Check]:
    wanted = {"images": IMAGE_GIB, "weights": WEIGHTS_GIB, "results": 1.0}
    for what, free_bytes in facts.free_bytes:
        free_gib = free_bytes / BYTES_PER_GIB
        enough = free_gib >= wanted[what]
        yield Check(
            name=f"disk for {what}",
            state=State.OK if enough else State.WARNING,
            found=f"{free_gib:.0f} GiB free",
            consequence="" if enough else f"{wanted[what]:.0f} GiB may be needed",
            mend="" if enough else "make room, or move the folder to another disk",
        )


def _memory(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    hardware = facts.hardware
    host_gib = hardware.host_memory_bytes / BYTES_PER_GIB
    reserve = spec.headroom.host_gib
    free_gib = None if facts.ram_free_bytes is None else facts.ram_free_bytes / BYTES_PER_GIB
    told = "" if free_gib is None or facts.deployer == "simulated" else f", {free_gib:.0f} free now"
    found = f"{host_gib:.0f} GiB{told}, of which {reserve:g} stay free"
    if host_gib - reserve <= _ENGINE_GIB:
        yield Check(name="RAM", state=State.WARNING, found=found,
                    consequence="no room for an engine beside the reserve",
                    mend="lower headroom.host_gib in the study file")  # fmt: skip
    elif told and free_gib is not None and free_gib - reserve <= _ENGINE_GIB:
        yield Check(name="RAM", state=State.WARNING, found=found,
                    consequence="other programs leave no room for an engine beside the reserve",
                    mend="close them: `ps aux --sort=-rss | head` lists the largest")  # fmt: skip
    else:
        yield Check(name="RAM", state=State.OK, found=found)
    if hardware.shm_bytes < BYTES_PER_GIB:
        yield Check(
            name="shared memory",
            state=State.WARNING,
            found=f"{hardware.shm_bytes / BYTES_PER_GIB:.2f} GiB",
            consequence="KV offload as a process fails (vLLM 0.27 and later keep it there)",
            mend="`sudo mount -o remount,size=80% /dev/shm`, or use --deployer docker",
        )
    else:
        yield Check(name="shared memory", state=State.OK,
                    found=f"{hardware.shm_bytes / BYTES_PER_GIB:.0f} GiB")  # fmt: skip
    yield _memlock(facts)
    if hardware.is_wsl:
        yield Check(
            name="WSL2",
            state=State.WARNING,
            found="this is WSL2",
            consequence="pinned memory is off by default and at most half of the RAM can be pinned",
            mend="set VLLM_WSL2_ENABLE_PIN_MEMORY=1 in the study's engine.env",
        )


def _memlock(facts: Facts) -> Check:
    """The limit of locked memory, which only a process has from this shell."""
    if not 0 <= facts.memlock_bytes < 64 * BYTES_PER_GIB:
        return Check(name="memlock", state=State.OK, found="unlimited")
    found = f"{facts.memlock_bytes / BYTES_PER_MIB:,.0f} MiB"
    if facts.deployer != "process":
        told = "containers get theirs lifted" if facts.deployer == "docker" else "nothing locks it"
        return Check(name="memlock", state=State.OK, found=f"{found}; {told}")
    return Check(
        name="memlock",
        state=State.WARNING,
        found=found,
        consequence="pinned memory of a KV offload may be refused or slow",
        mend="`ulimit -l unlimited`; where that is refused, a line `USER - memlock unlimited` in "
        "/etc/security/limits.conf, and log in again",
    )


def _access(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    port = spec.port or 8000
    if facts.port_error and spec.port and facts.deployer != "simulated":
        yield Check(
            name=f"port {port}",
            state=State.MISSING,
            found=facts.port_error,
            consequence="the study file names that port, and refuses to start",
            mend="end what listens there, or take `port` out of the study file",
        )
    else:
        yield Check(
            name=f"port {port}",
            state=State.WARNING if facts.port_error else State.OK,
            found=facts.port_error or "free",
            consequence="the exported service cannot listen there" if facts.port_error else "",
            mend="set VLLM_PORT in .env to another one" if facts.port_error else "",
        )
    yield Check(
        name="HF_TOKEN",
        state=State.OK if facts.has_token else State.WARNING,
        found="set" if facts.has_token else "not set",
        consequence="" if facts.has_token else "gated models (Llama) cannot be fetched",
        mend="" if facts.has_token else "export HF_TOKEN=...; autotune passes it on by name only",
    )


def _client(facts: Facts, _spec: StudySpec) -> Iterator[Check]:
    if facts.deployer == "simulated":
        return  # its clock is not the machine's
    allowed = facts.client_is_realtime
    yield Check(
        name="load generator",
        state=State.OK if allowed else State.WARNING,
        found=f"{'real-time' if allowed else 'ordinary'} priority while a load runs",
        consequence="" if allowed else "on few cores its times are some milliseconds late",
        mend="" if allowed else "a line `USER - rtprio 1` in /etc/security/limits.conf, or root",
    )


_LOOKS: Final[tuple[Callable[[Facts, StudySpec], Iterator[Check]], ...]] = (
    gpu_checks, _docker, _program, _model, _results, _disk, _memory, _access, _client,
)  # fmt: skip
