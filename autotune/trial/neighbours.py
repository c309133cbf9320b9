"""Who else uses the GPU before the first trial: a desktop, other programs.

All figures are then measured beside them, and the memory that they hold is the engine's no more.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from autotune.seams.telemetry import Hardware
from autotune.trial.quiet import TOLERANCE_BYTES
from autotune.units import gib_from_bytes

OTHER_USERS: Final = "gpu_other_users"
"""Key in a record's environment; absent where nobody else is on the card."""


def neighbours(values: Mapping[str, float | None], hardware: Hardware) -> str:
    """Who else is on the card, in words; empty where nobody is.

    Args:
        values: A look at the machine while autotune runs nothing.
        hardware: The machine.
    """
    return ", ".join(_found(values, hardware))


def _found(values: Mapping[str, float | None], hardware: Hardware) -> Iterator[str]:
    gpu = hardware.gpu
    if gpu is None:
        return
    if gpu.display_is_on:
        yield "a display"
    others = int(values.get("gpu_other_processes_count") or 0)
    if others:
        yield f"{others} other process{'' if others == 1 else 'es'}"
    used, reserved = values.get("gpu_memory_used_bytes"), gpu.reserved_bytes
    if used is None or reserved is None:  # an idle card has some hundred MiB in use for its driver
        return
    # Where the driver names no processes (WSL), this is all that tells of them.
    if used - reserved > TOLERANCE_BYTES:
        yield f"{gib_from_bytes(used - reserved):.2f} GiB in use"
