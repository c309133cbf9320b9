"""Waiting until the memory that a trial took has come back.

A GPU frees memory some time after its process has gone; a trial started too early is measured
against its predecessor's leftovers, or refused ("Free memory on device ... is less than desired").
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.clock import Clock
from autotune.seams.telemetry import Source
from autotune.units import BYTES_PER_MIB, s_from_ns

TOLERANCE_BYTES: Final = 256 * BYTES_PER_MIB
POLL_S: Final = 0.1
LOOK_TIMEOUT_S: Final = 10.0
SETTLE_S: Final = 1.0
SETTLE_LOOKS: Final = 30
_KEY: Final = "gpu_memory_used_bytes"


async def look(sources: Sequence[Source]) -> dict[str, float | None]:
    """One reading of several sources in one mapping."""
    values: dict[str, float | None] = {}
    for source in sources:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                values.update(await source.read())
        except TimeoutError:  # a driver that hangs: the trial goes on without its figures
            values.update(dict.fromkeys(source.keys))
    return values


async def settled_look(sources: Sequence[Source], clock: Clock) -> dict[str, float | None]:
    """A reading once GPU memory no longer falls: a dead run's servers have just been ended."""
    values = await look(sources)
    for _ in range(SETTLE_LOOKS):
        await clock.sleep(SETTLE_S)
        before, values = values, await look(sources)
        if IdleLevel.of(values).is_reached(before):
            break
    return values


@dataclass(frozen=True, kw_only=True)
class IdleLevel:
    """GPU memory in use while autotune runs nothing; None on a machine without a GPU."""

    gpu_memory_used_bytes: float | None

    @classmethod
    def of(cls, values: Mapping[str, float | None]) -> "IdleLevel":
        """From a look at the machine before the first trial."""
        return cls(gpu_memory_used_bytes=values.get(_KEY))

    def is_reached(self, values: Mapping[str, float | None]) -> bool:
        """Whether no more than the idle level is in use, within the tolerance."""
        used = values.get(_KEY)
        if used is None or self.gpu_memory_used_bytes is None:
            return True
        return used <= self.gpu_memory_used_bytes + TOLERANCE_BYTES

    async def wait(self, sources: Sequence[Source], clock: Clock, *, timeout_s: float) -> str:
        """Wait until it is reached.

        Returns:
            An empty string, or one line about what is still in use after `timeout_s`.
        """
        start_ns = clock.now_ns()
        while True:
            values = await look(sources)
            if self.is_reached(values):
                return ""
            if s_from_ns(clock.now_ns() - start_ns) >= timeout_s:
                used = values.get(_KEY) or 0.0
                extra = (used - (self.gpu_memory_used_bytes or 0.0)) / BYTES_PER_MIB
                return f"{extra:.0f} MiB of GPU memory were still in use after {timeout_s:g} s"
            await clock.sleep(POLL_S)
