"""Host memory of a start: the engine's own, the KV offload, weights in host memory, /dev/shm."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.compatibility import HostFactor, host_factor, rule_book
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.parameters import SHM_OFFLOAD_FIRST
from autotune.engines.vllm.releases import Release
from autotune.records import Failure, FailureKind, TrialRecord
from autotune.seams.engine import LaunchContext
from autotune.units import bytes_from_gib, gib_from_bytes

ENGINE_BYTES: Final = bytes_from_gib(4.0)
"""API server and engine core, resident, before any buffer."""

CPU_ENGINE_BYTES: Final = bytes_from_gib(1.0)
"""The least that a CPU engine takes besides weights and KV cache."""


class OffloadFactor:
    """Host bytes per byte of offload: what the release is known for, then what this machine showed.

    Of several trials the largest counts.
    """

    def __init__(self) -> None:
        self._measured: list[float] = []
        self._engine_bytes: list[float] = []

    @property
    def measured(self) -> float | None:
        """What trials with offload showed; None before the first."""
        return max(self._measured) if self._measured else None

    def host_bytes(self, offload_bytes: int, declared: HostFactor, layers: int | None) -> float:
        """What an offload will take.

        Args:
            offload_bytes: As asked for.
            declared: Of the release.
            layers: Tensors of equal size that it is made of; None where that is not so.
        """
        if self.measured is not None:
            return self.measured * offload_bytes
        if declared.rounded and layers and offload_bytes:
            return float(layers * 2 ** ceil(log2(offload_bytes / layers)))
        return declared.factor * offload_bytes

    def learn(self, record: TrialRecord) -> None:
        """Take the factor from a trial's peaks.

        From 0.27.0 the offload lies in /dev/shm and is seen there; before, the engine's memory
        is held against trials without offload.
        """
        offload = record.predicted.get("offload_bytes", 0.0)
        engine = record.metrics.get("engine_memory_peak_bytes")
        shm = record.metrics.get("shm_peak_bytes")
        if offload <= 0:
            if engine is not None:
                self._engine_bytes.append(engine)
            return
        seen = shm if record.predicted.get("shm_bytes", 0.0) >= offload else None
        if seen is None and engine is not None and self._engine_bytes:
            seen = engine - max(self._engine_bytes)
        if seen is not None and seen >= 0.5 * offload:
            self._measured.append(max(1.0, seen / offload))


@dataclass(frozen=True, kw_only=True)
class HostNeed:
    """Host memory that a start takes, against what there is.

    Attributes:
        total_bytes: Everything of the engine in host memory.
        limit_bytes: What there is: the container's limit, else the host's memory; None unknown.
        shm_bytes: Part of it in /dev/shm.
        shm_limit_bytes: Size of /dev/shm; None where autotune sizes it or it is not known.
        certain_bytes: The least that it will take, with nothing estimated.
        repair_gib: Offload that would fit; None without offload.
        counted: How the offload was counted, for people; empty without offload.
    """

    total_bytes: float
    limit_bytes: float | None
    shm_bytes: float
    shm_limit_bytes: float | None
    certain_bytes: float
    repair_gib: int | None = None
    counted: str = ""

    @property
    def margin_gib(self) -> float | None:
        """GiB left by the prediction; negative: short."""
        margins = []
        if self.limit_bytes is not None:
            margins.append(self.limit_bytes - self.total_bytes)
        if self.shm_limit_bytes is not None and self.shm_bytes > 0:
            margins.append(self.shm_limit_bytes - self.shm_bytes)
        return round(gib_from_bytes(min(margins)), 3) if margins else None

    def failure(self) -> Failure | None:
        """Why it would not fit; None if it may."""
        if self.limit_bytes is not None and self.certain_bytes > self.limit_bytes:
            what = f"host memory{self.counted}"
            return self._short(what, self.certain_bytes, self.limit_bytes)
        if self.shm_limit_bytes is not None and self.shm_bytes > self.shm_limit_bytes:
            return self._short("shared memory (/dev/shm)", self.shm_bytes, self.shm_limit_bytes)
        return None

    def _short(self, what: str, needed: float, available: float) -> Failure:
        return Failure(
            kind=FailureKind.WOULD_NOT_FIT,
            phase="screening",
            message=(
                f"{gib_from_bytes(needed):.1f} GiB of {what} are needed and there are "
                f"{gib_from_bytes(available):.1f}"
            ),
            needed_gib=round(gib_from_bytes(needed), 3),
            available_gib=round(gib_from_bytes(available), 3),
            margin_gib=round(gib_from_bytes(available - needed), 3),
            repair={} if self.repair_gib is None else {"kv_offload_gib": self.repair_gib},
        )


def host_need(
    settings: MemorySettings,
    release: Release,
    context: LaunchContext,
    shape: ModelShape,
    *,
    kv_bytes: float | None,
    weights_bytes: float,
    offload: OffloadFactor,
) -> HostNeed:
    """Host memory of a start.

    The offload counts with the factor that was seen, until then with that of the release: memory
    that the kernel cannot take back, whose shortage kills the server or worse.
    """
    platform, book = context.capabilities.platform, rule_book()
    kv_factor = host_factor(book.kv_offload_host, release, platform)
    layers = _equal_tensors(shape)

    def taken(offload_bytes: int) -> float:
        return offload.host_bytes(offload_bytes, kv_factor, layers)

    buffers = taken(settings.offload_bytes)
    weights = host_factor(book.weights_offload_host, release, platform)
    buffers += weights.factor * settings.weights_offload_bytes
    on_cpu = platform == "cpu"
    own = weights_bytes + (kv_bytes or 0.0) if on_cpu else 0.0
    base = CPU_ENGINE_BYTES if on_cpu else ENGINE_BYTES
    limit = _limit(context)
    repair = None
    if settings.offload_bytes and limit is not None:
        room = limit - base
        sizes = range(max(0, int(gib_from_bytes(room))), -1, -1)
        repair = next((size for size in sizes if taken(bytes_from_gib(size)) <= room), 0)
    contained = context.target.image is not None
    shm_limit = None if contained or not context.hardware.shm_bytes else context.hardware.shm_bytes
    return HostNeed(
        total_bytes=base + own + buffers,
        limit_bytes=limit,
        shm_bytes=float(settings.offload_bytes if release >= SHM_OFFLOAD_FIRST else 0),
        shm_limit_bytes=shm_limit,
        # An offload is asked for in so many bytes; a CPU's weights and KV are what they are.
        certain_bytes=(own if on_cpu else base) + buffers,
        repair_gib=repair,
        counted=_counted(settings.offload_bytes, taken(settings.offload_bytes), offload, release),
    )


def _equal_tensors(shape: ModelShape) -> int | None:
    """Layers, where each has KV tensors of one size; K and V apart round to the same."""
    plain = shape.sliding_layers == 0 and shape.stateless_layers == 0
    return shape.layers if plain else None


def _counted(offload_bytes: int, taken: float, offload: OffloadFactor, release: Release) -> str:
    if not offload_bytes:
        return ""
    how = f"as vLLM {release} allocates it, until a trial with offload has been measured here"
    if offload.measured is not None:
        how = "as measured here"
    factor = taken / offload_bytes
    return f" ({gib_from_bytes(offload_bytes):g} GiB of offload count {factor:.2f} times, {how})"


def _limit(context: LaunchContext) -> float | None:
    """Most host memory that the engine may take."""
    limits = [context.hardware.host_memory_bytes or None, context.memory_limit_bytes]
    known = [limit for limit in limits if limit]
    return float(min(known)) if known else None
