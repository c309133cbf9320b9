"""What `autotune doctor` says of the GPU."""

from collections.abc import Iterator
from typing import Final

from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_driver import driver_checks
from autotune.cli.doctor_facts import Facts
from autotune.report.quantities import gib_text
from autotune.spec.study import StudySpec

_FULL_POWER: Final = 0.99


def gpu_checks(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    """Card, compute capability, driver, who else uses it, and its power limit."""
    gpu = facts.hardware.gpu
    if gpu is None:
        yield _no_gpu(facts, spec)
        return
    major, minor = gpu.compute_capability
    yield Check(name="GPU", state=State.OK,
                found=f"{gpu.name}, {gib_text(gpu.memory_bytes)}")  # fmt: skip
    if (major, minor) < (7, 5):
        yield Check(
            name="compute capability",
            state=State.MISSING,
            found=f"{major}.{minor}",
            consequence="vLLM's kernels need 7.5 or later",
            mend="use another card",
        )
    else:
        yield Check(name="compute capability", state=State.OK, found=f"{major}.{minor}")
    yield from driver_checks(facts, spec)
    yield from _gpu_use(facts)


def _no_gpu(facts: Facts, spec: StudySpec) -> Check:
    """What a machine without one means for this study."""
    found = "no NVIDIA GPU, or no driver for it"
    mend = "install the NVIDIA driver; `nvidia-smi` must list the card"
    if facts.deployer == "docker" and spec.engine.gpus:
        return Check(
            name="GPU",
            state=State.MISSING,
            found=found,
            consequence="this study runs vLLM on a GPU, and refuses to start without one",
            mend=f"{mend}; `autotune study {spec.name} --engine simulated` needs none",
        )
    if facts.deployer == "simulated" and spec.engine.name == "simulated":
        return Check(name="GPU", state=State.OK, found="none; this study simulates one")
    consequence = (
        "a simulated engine stands in for it; its figures are predictions"
        if facts.deployer == "simulated"
        else "only a vLLM that was built for the CPU can be measured"
    )
    return Check(name="GPU", state=State.WARNING, found=found, consequence=consequence, mend=mend)


def _gpu_use(facts: Facts) -> Iterator[Check]:
    if facts.gpu_processes:
        yield Check(
            name="other processes on the GPU",
            state=State.WARNING,
            found=f"{facts.gpu_processes}",
            consequence="they take memory and time from every trial, and figures get noisy",
            mend="close them (a display counts as one); `nvidia-smi` lists them",
        )
    elif facts.gpu_processes == 0:
        yield Check(name="other processes on the GPU", state=State.OK, found="none")
    gpu = facts.hardware.gpu
    if gpu and gpu.display_is_on:
        yield Check(
            name="display on the GPU",
            state=State.WARNING,
            found="a desktop draws on it",
            consequence="it takes memory and time from every trial; headroom.gpu_gib is its share",
            mend="draw with another card, or end the desktop while a study runs",
        )
    ratio = None if gpu is None else gpu.power_limit_ratio
    if ratio is None:
        return
    if ratio < _FULL_POWER:
        yield Check(
            name="power limit",
            state=State.WARNING,
            found=f"{ratio:.0%} of the card's default",
            consequence="figures hold for this limit only",
            mend="`nvidia-smi -q -d POWER` shows the default, `sudo nvidia-smi -pl WATTS` sets it",
        )
    else:
        yield Check(name="power limit", state=State.OK, found="the card's default or more")
