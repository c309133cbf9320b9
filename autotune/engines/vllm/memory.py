"""The memory model: what a start will take, whether it can fit, and what trials teach.

Conservative: a configuration is screened only if it cannot fit even where every estimate errs
to its disadvantage. Trials correct the estimates by the difference between what was predicted
and what the engine's ledger said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.host_memory import HostNeed, OffloadFactor, host_need
from autotune.engines.vllm.kv_blocks import (
    kv_layout,
    kv_tokens,
    longest_request_tokens,
    request_blocks,
)
from autotune.engines.vllm.memory_settings import MemorySettings, memory_settings
from autotune.engines.vllm.memory_terms import DRIVER_RESERVE_BYTES, Terms, terms
from autotune.engines.vllm.releases import parse_release
from autotune.errors import ModelError
from autotune.records import Configuration, Failure, FailureKind, Scalar, TrialRecord
from autotune.seams.engine import LaunchContext, Screening
from autotune.units import BYTES_PER_GIB, bytes_from_gib, gib_from_bytes

LEARNED_UNCERTAINTY_BYTES: Final = bytes_from_gib(0.15)
"""What a corrected prediction still misses; ledgers are rounded to 0.01 GiB."""

COLD_COMPILE_NS: Final = 12_000_000_000
"""A longer torch.compile met an empty cache. Such a start keeps up to 1 GiB more."""

COLD_START_BYTES: Final = BYTES_PER_GIB
"""Memory that a start with an empty compile cache has less for KV (0.22.1 to 0.29.0 ledgers)."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a start is expected to take.

    Attributes:
        kv_bytes: KV cache of one rank; None where it cannot be known (CPU without a size).
        kv_uncertainty_bytes: Half the width of the interval around it.
        kv_needed_bytes: KV bytes of one request of the longest length.
        kv_tokens: Tokens that vLLM will report.
        longest_tokens: Longest request that fits at the favourable end.
        gpu_total_bytes: GPU memory as CUDA sees it; None without a GPU.
        terms: Everything else on the GPU.
        host: Host memory.
        settings: What was resolved.
    """

    kv_bytes: float | None
    kv_uncertainty_bytes: float
    kv_needed_bytes: float
    kv_tokens: int | None
    longest_tokens: int
    gpu_total_bytes: float | None
    terms: Terms
    host: HostNeed
    settings: MemorySettings
    correction_bytes: float = 0.0

    @property
    def gpu_bytes(self) -> float | None:
        """Everything on the GPU once the server runs."""
        if self.gpu_total_bytes is None or self.kv_bytes is None:
            return None
        t = self.terms
        return t.weights + t.activation + t.non_torch + t.graphs + t.context + max(0, self.kv_bytes)

    def figures(self) -> dict[str, float]:
        """As `Screening.predicted`: tags to bytes and tokens; what is unknown is absent."""
        t = self.terms
        known: dict[str, float | None] = {
            "kv_cache_tokens": None if self.kv_tokens is None else float(self.kv_tokens),
            "kv_cache_bytes": self.kv_bytes,
            "kv_correction_bytes": self.correction_bytes,
            "weights_bytes": t.weights,
            "activation_bytes": t.activation,
            "non_torch_bytes": t.non_torch,
            "graphs_bytes": t.graphs,
            "gpu_memory_bytes": self.gpu_bytes,
            "host_memory_bytes": self.host.total_bytes,
            "offload_bytes": float(self.settings.offload_bytes),
            "shm_bytes": self.host.shm_bytes,
        }
        return {tag: float(value) for tag, value in known.items() if value is not None}


class MemoryModel:
    """Predicts, screens and learns; one per study."""

    def __init__(self) -> None:
        self._warm: list[float] = []
        self._cold: list[float] = []
        self._offload = OffloadFactor()

    def predict(self, configuration: Configuration, context: LaunchContext) -> Prediction:
        """Expect what a start with a warm compile cache takes.

        Raises:
            ModelError: If the model's config cannot be sized.
        """
        shape = shape_of(context.model)
        release = parse_release(context.capabilities.release)
        settings = memory_settings(configuration, context, shape)
        layout = kv_layout(
            shape,
            kv_cache_dtype=settings.kv_cache_dtype,
            block_tokens=settings.block_tokens,
            gpus=settings.gpus,
        )
        estimated = terms(shape, settings, release, context.model.weights_bytes)
        total = _gpu_total(context)
        kv, spread, correction = self._kv(settings, estimated, total)
        batch = settings.max_num_batched_tokens
        longest = longest_request_tokens(layout, (kv or 0.0) + spread, batch_tokens=batch)
        length = settings.max_model_len_tokens or max(1, min(longest, shape.max_position_tokens))
        tokens = None
        if kv is not None:
            tokens = kv_tokens(
                layout, kv, release=release, max_model_len_tokens=length, batch_tokens=batch
            )
        needed = request_blocks(layout, length, batch_tokens=batch) * layout.block_bytes
        return Prediction(
            kv_bytes=kv,
            kv_uncertainty_bytes=spread,
            kv_needed_bytes=float(needed),
            kv_tokens=tokens,
            longest_tokens=longest,
            gpu_total_bytes=total,
            terms=estimated,
            host=host_need(settings, release, context, kv_bytes=kv,
                           weights_bytes=estimated.weights, offload=self._offload),
            settings=settings,
            correction_bytes=correction,
        )  # fmt: skip

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Say whether a start can fit; a model that cannot be sized is never screened."""
        try:
            prediction = self.predict(configuration, context)
        except ModelError:
            return Screening()
        failure = _gpu_failure(prediction) or prediction.host.failure()
        return Screening(
            failure=failure,
            predicted=prediction.figures(),
            gpu_margin_gib=_gpu_margin_gib(prediction),
            host_margin_gib=prediction.host.margin_gib,
        )

    def learn(self, record: TrialRecord) -> None:
        """Correct the model by one trial's ledger and memory figures; others are ignored."""
        self._offload.learn(record)
        said = record.ledger.kv_cache_gib if record.ledger is not None else None
        predicted = record.predicted.get("kv_cache_bytes")
        if said is None or predicted is None or "gpu_memory_bytes" not in record.predicted:
            return
        raw = predicted - record.predicted.get("kv_correction_bytes", 0.0)
        compiled = record.metrics.get("startup_compile_ns")
        cold = compiled is not None and compiled > COLD_COMPILE_NS
        (self._cold if cold else self._warm).append(said * BYTES_PER_GIB - raw)

    def _kv(
        self, settings: MemorySettings, estimated: Terms, total: float | None
    ) -> tuple[float | None, float, float]:
        """KV bytes, by how much they may be wrong, and what trials added to them."""
        if settings.kv_bytes is not None:
            return float(settings.kv_bytes), 0.0, 0.0
        if total is None:
            return None, 0.0, 0.0
        correction, spread = self._correction(estimated)
        return settings.utilization * total - estimated.budgeted + correction, spread, correction

    def _correction(self, estimated: Terms) -> tuple[float, float]:
        """What to add to the KV bytes, and what is then still uncertain."""
        if self._warm:
            return _median(self._warm), LEARNED_UNCERTAINTY_BYTES
        if self._cold:  # a warm start has as much or up to 1 GiB more
            return _median(self._cold), LEARNED_UNCERTAINTY_BYTES + COLD_START_BYTES
        return 0.0, estimated.uncertainty


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _gpu_total(context: LaunchContext) -> float | None:
    """GPU memory as CUDA counts it: NVML's figure less what the driver keeps; WSL2 shows all."""
    gpu = context.hardware.gpu
    if gpu is None or context.capabilities.platform == "cpu":
        return None
    reserve = 0 if context.hardware.is_wsl else DRIVER_RESERVE_BYTES
    return float(gpu.memory_bytes - reserve)


def _gpu_margin_gib(prediction: Prediction) -> float | None:
    """KV bytes left over one longest request, or GPU memory left over all: the smaller."""
    used, total = prediction.gpu_bytes, prediction.gpu_total_bytes
    if prediction.kv_bytes is None or used is None or total is None:
        return None
    margins = (prediction.kv_bytes - prediction.kv_needed_bytes, total - used)
    return round(gib_from_bytes(min(margins)), 3)


def _gpu_failure(prediction: Prediction) -> Failure | None:
    """Why the KV cache cannot hold one request even at the favourable end; None if it may."""
    kv = prediction.kv_bytes
    if kv is None:
        return None
    best = kv + prediction.kv_uncertainty_bytes
    over = _over_the_card(prediction)
    if over is not None:
        message = "the weights and the KV cache asked for need more than the card has"
        return _would_not_fit(message, *over, {})
    if best >= prediction.kv_needed_bytes:
        return None
    needed = prediction.kv_needed_bytes
    length = prediction.settings.max_model_len_tokens
    message = (
        f"a request of {length} tokens needs {gib_from_bytes(needed):.2f} GiB of KV cache and at "
        f"most {gib_from_bytes(best):.2f} GiB can be left"
    )
    if best <= 0:
        message = "the weights and activations alone need more than the share of GPU memory"
    return _would_not_fit(message, needed, best, _length_repair(prediction))


def _over_the_card(prediction: Prediction) -> tuple[float, float] | None:
    """Bytes needed and there, where KV bytes asked for directly and the weights exceed the card.

    The share of GPU memory does not matter to such a start.
    """
    total, asked = prediction.gpu_total_bytes, prediction.settings.kv_bytes
    if total is None or asked is None:
        return None
    needed = 0.97 * prediction.terms.weights + asked
    return (needed, total) if needed > total else None


def _length_repair(prediction: Prediction) -> Mapping[str, Scalar]:
    """The longest request that fits, with the uncertainty taken off again; empty if none."""
    kv, settings = prediction.kv_bytes, prediction.settings
    length = settings.max_model_len_tokens
    if kv is None or kv <= 0 or length is None or prediction.kv_needed_bytes <= 0:
        return {}
    share = min(1.0, max(0.0, kv) / prediction.kv_needed_bytes)
    fits = int(length * share) // settings.block_tokens * settings.block_tokens
    return {"max_model_len": fits} if fits >= settings.block_tokens else {}


def _would_not_fit(
    message: str, needed: float, available: float, repair: Mapping[str, Scalar]
) -> Failure:
    return Failure(
        kind=FailureKind.WOULD_NOT_FIT,
        phase="screening",
        message=message,
        needed_gib=round(gib_from_bytes(needed), 3),
        available_gib=round(gib_from_bytes(available), 3),
        margin_gib=round(gib_from_bytes(available - needed), 3),
        repair=repair,
    )
