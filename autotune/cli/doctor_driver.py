"""Whether the NVIDIA driver can run the CUDA release that an image was built for.

The rules are NVIDIA's (CUDA Compatibility guide; container toolkit, "Constraints"):

- A newer driver runs every older CUDA.
- An older one of the same major release runs it too (minor version compatibility), but for kernels
  that are compiled on the machine from PTX.
- An older major release runs it with the libraries that the image brings (forward compatibility),
  on data-center cards only. The image itself names the cards and drivers it accepts, in
  NVIDIA_REQUIRE_CUDA, and Docker's NVIDIA hook holds it against the machine.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from autotune.cli.doctor_check import Check, State
from autotune.cli.doctor_facts import Facts
from autotune.seams.telemetry import Gpu
from autotune.spec.study import StudySpec

Release = tuple[int, ...]

_BRANCHES: Final[Mapping[Release, int]] = {
    (12, 0): 525, (12, 1): 530, (12, 2): 535, (12, 3): 545, (12, 4): 550, (12, 5): 555,
    (12, 6): 560, (12, 8): 570, (12, 9): 575, (13, 0): 580, (13, 1): 590, (13, 2): 595,
}  # fmt: skip
"""CUDA release to the first driver branch for it (CUDA Toolkit 13.2 release notes, table 3)."""
_LONG_TERM: Final = 580
"""Of the branches that are kept up for years, the first for the GeForce cards of today."""

_ATOM: Final = re.compile(r"(cuda|driver|brand|arch)(>=|<=|!=|=|<|>)(\S+)")
_COMPARED: Final[Mapping[str, Callable[[Release, Release], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


def driver_checks(facts: Facts, spec: StudySpec) -> Iterator[Check]:
    """The driver, and where an image's CUDA is known, whether the one runs the other."""
    gpu = facts.hardware.gpu
    if gpu is None:
        return
    if not gpu.driver:
        yield Check(
            name="driver",
            state=State.WARNING,
            found="unknown",
            consequence="a change of it between two runs would not be noticed",
            mend="reinstall the NVIDIA driver; `nvidia-smi` must tell its release",
        )
        return
    own = "" if gpu.cuda is None else f", for CUDA {_text(gpu.cuda)}"
    found = f"{gpu.driver}{own}"
    image = {} if facts.docker is None else facts.docker.image_env
    needed = needed_cuda(image)
    if facts.deployer != "docker" or needed is None or gpu.cuda is None:
        yield Check(name="driver", state=State.OK, found=found)
        return
    state, consequence = _verdict(gpu, needed, {**image, **spec.engine.env})
    yield Check(
        name="driver",
        state=state,
        found=f"{found}; the image is for CUDA {_text(needed)}",
        consequence=consequence,
        mend="" if state is State.OK else _mend(needed, is_wsl=facts.hardware.is_wsl),
    )


def _verdict(gpu: Gpu, needed: Release, environment: Mapping[str, str]) -> tuple[State, str]:
    """How a driver stands to an image, and what follows."""
    has = gpu.cuda or ()
    is_asked = environment.get("NVIDIA_DISABLE_REQUIRE", "").lower() not in {"1", "true"}
    demands = [value for name, value in environment.items() if name.startswith("NVIDIA_REQUIRE_")]
    unmet = [demand for demand in demands if not is_met(demand, gpu)]
    if is_asked and unmet:
        refused = unmet[0].split()[0]
        return State.MISSING, (
            f"Docker refuses to start the image (unsatisfied condition: {refused}), and where it "
            "does not, vLLM finds the driver too old"
        )
    if has >= needed:
        return State.OK, ""
    if has[:1] == needed[:1]:
        return State.WARNING, (
            "the image starts, but kernels compiled on this machine may fail: `the provided PTX "
            "was compiled with an unsupported toolchain`"
        )
    if demands and not unmet:
        return State.WARNING, (
            "it runs by forward compatibility alone, which vLLM's later images switch on only by "
            "VLLM_ENABLE_CUDA_COMPATIBILITY=1 in engine.env"
        )
    return State.MISSING, "vLLM ends at its start: the driver is too old for the image's CUDA"


def _mend(needed: Release, *, is_wsl: bool) -> str:
    if is_wsl:
        return "update NVIDIA's driver in Windows, which WSL2 uses, or name an older image: --image"
    branch = _BRANCHES.get(needed[:2])
    if branch is None:
        return f"install a driver for CUDA {_text(needed)}, or name an older image: --image"
    branch = max(branch, _LONG_TERM)
    return (
        f"`sudo apt install nvidia-driver-{branch}-open` (Ubuntu; elsewhere any from {branch} on) "
        "and restart, or name an older image: --image"
    )


def needed_cuda(environment: Mapping[str, str]) -> Release | None:
    """The CUDA release that an image was built for, as (13, 0); None if it does not say.

    Args:
        environment: Of the image; NVIDIA's base images set CUDA_VERSION.
    """
    said = _release(environment.get("CUDA_VERSION", ""))
    return said[:2] if len(said) >= 2 else None


def is_met(demand: str, gpu: Gpu) -> bool:
    """Whether a card and its driver meet an image's demand.

    Args:
        demand: Alternatives with spaces between, each of conditions with commas between:
            "cuda>=12.9 brand=tesla,driver>=570,driver<571".
        gpu: What a condition is about and the card does not tell is not met.
    """
    return any(all(_holds(part, gpu) for part in one.split(",")) for one in demand.split())


def _holds(condition: str, gpu: Gpu) -> bool:
    atom = _ATOM.fullmatch(condition)
    if atom is None:
        return False
    subject, relation, wanted = atom.groups()
    if subject == "brand":
        return (gpu.brand == wanted) == (relation == "=") if gpu.brand else False
    has = {"cuda": gpu.cuda or (), "driver": _release(gpu.driver),
           "arch": gpu.compute_capability}[subject]  # fmt: skip
    bound = _release(wanted)
    width = max(len(has), len(bound))
    return bool(has and bound) and _COMPARED[relation](_padded(has, width), _padded(bound, width))


def _padded(release: Release, width: int) -> Release:
    return (*release, *(0 for _ in range(width - len(release))))


def _release(text: str) -> Release:
    """`575.57.08` as (575, 57, 8); empty if it is no release."""
    return tuple(map(int, text.split("."))) if re.fullmatch(r"\d+(\.\d+)*", text) else ()


def _text(release: Release) -> str:
    return ".".join(map(str, release))
