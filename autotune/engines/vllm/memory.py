"""The memory model: what a start will take, whether it can fit, and what trials teach.

Conservative: a configuration is screened only if it cannot fit even where every estimate errs
to its disadvantage. Trials correct the estimates by the difference between what was predicted
and what the engine's ledger said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median_high
from typing import Final

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.compile_cache import CompileCache, State, is_cold
from autotune.engines.vllm.host_memory import OffloadFactor, host_need
from autotune.engines.vllm.kv_blocks import (
    kv_layout,
    kv_tokens,
    longest_request_tokens,
    request_blocks,
)
from autotune.engines.vllm.memory_lessons import Lessons
from autotune.engines.vllm.memory_prediction import (
    Prediction,
    gpu_failure,
    gpu_margin_gib,
    headroom_failure,
)
from autotune.engines.vllm.memory_settings import MemorySettings, memory_settings
from autotune.engines.vllm.memory_terms import (
    DRIVER_RESERVE_BYTES,
    LEAST_RESERVE_BYTES,
    Terms,
    terms,
)
from autotune.engines.vllm.releases import parse_release
from autotune.errors import ModelError
from autotune.records import Configuration, TrialRecord
from autotune.seams.engine import LaunchContext, Screening
from autotune.units import BYTES_PER_GIB, bytes_from_gib

LEARNED_UNCERTAINTY_BYTES: Final = bytes_from_gib(0.15)
"""What a corrected prediction still misses; ledgers are rounded to 0.01 GiB."""

OTHER_INPUTS: Final = frozenset({"vision_config", "audio_config", "thinker_config"})
"""Parts of a model's configuration that tell of inputs other than text."""


@dataclass
class _Learnt:
    """What trials of one release have taught.

    Attributes:
        warm: KV bytes of ledgers less those predicted, of starts that found their graphs.
        cold: The same of starts that compiled.
    """

    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    offload: OffloadFactor = field(default_factory=OffloadFactor)
    lessons: Lessons = field(default_factory=Lessons)

    def correction(self, estimated: Terms, *, cold: bool) -> tuple[float, float]:
        """What to add to the KV bytes, and what is then still uncertain."""
        alike, other = (self.cold, self.warm) if cold else (self.warm, self.cold)
        if alike:
            return median_high(alike), LEARNED_UNCERTAINTY_BYTES
        if other:  # a large difference may be that of compiling
            most = LEARNED_UNCERTAINTY_BYTES
            found = median_high(other)
            return max(-most, min(most, found)), most + estimated.cold_uncertainty
        return 0.0, estimated.uncertainty


class MemoryModel:
    """Predicts, screens and learns; one per study.

    Releases take different memory, so each is corrected by its own trials.
    """

    def __init__(self) -> None:
        self._by_release: dict[str | None, _Learnt] = {}
        self._compiled = CompileCache()

    def predict(self, configuration: Configuration, context: LaunchContext) -> Prediction:
        """Expect what a start takes; with an empty compile cache, where that is known, more.

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
        learnt = self._of(context.capabilities.release)
        state = self._compiled.state(configuration, context, hidden=shape.hidden)
        kv, spread, correction = _kv(settings, estimated, total, learnt, state)
        batch = settings.max_num_batched_tokens
        longest = longest_request_tokens(layout, (kv or 0.0) + spread, batch_tokens=batch)
        length = settings.max_model_len_tokens or max(1, min(longest, shape.max_position_tokens))

        def tokens_in(kv_bytes: float) -> int:
            return kv_tokens(
                layout, kv_bytes, release=release, max_model_len_tokens=length, batch_tokens=batch
            )

        is_cold = state == "cold"
        warm = None if kv is None else kv + (estimated.cold if is_cold else 0.0)
        if settings.kv_bytes is not None:
            warm = None
        needed = request_blocks(layout, length, batch_tokens=batch) * layout.block_bytes
        return Prediction(
            kv_bytes=kv,
            kv_uncertainty_bytes=spread,
            kv_needed_bytes=float(needed),
            kv_tokens=None if kv is None else tokens_in(kv),
            first_start_tokens=None if warm is None else tokens_in(warm - estimated.cold),
            later_start_tokens=None if warm is None else tokens_in(warm),
            longest_tokens=longest,
            gpu_total_bytes=total,
            terms=estimated,
            host=host_need(settings, release, context, shape, kv_bytes=kv,
                           weights_bytes=estimated.weights, offload=learnt.offload),
            settings=settings,
            correction_bytes=correction,
            is_cold=is_cold,
            is_text_only=not OTHER_INPUTS & set(context.model.config),
            reserve_bytes=reserve_bytes(context),
            least_reserve_bytes=reserve_bytes(context, LEAST_RESERVE_BYTES),
        )  # fmt: skip

    def screen(self, configuration: Configuration, context: LaunchContext) -> Screening:
        """Say whether a start can fit; a model that cannot be sized is never screened."""
        try:
            prediction = self.predict(configuration, context)
        except ModelError:
            return Screening()
        card, headroom = context.hardware.gpu, None
        taught = self._of(context.capabilities.release).lessons.refusal(
            configuration, prediction, lambda other: self.predict(other, context), context
        )
        if card is not None:
            headroom = headroom_failure(
                prediction,
                card_bytes=card.memory_bytes,
                headroom_bytes=context.gpu_headroom_bytes,
            )
        return Screening(
            failure=gpu_failure(prediction) or prediction.host.failure() or taught.failure,
            headroom=headroom or taught.headroom,
            predicted=prediction.figures(),
            gpu_margin_gib=gpu_margin_gib(prediction),
            host_margin_gib=prediction.host.margin_gib,
        )

    def learn(self, record: TrialRecord) -> None:
        """Correct the model by one trial's ledger, memory figures and end; others are ignored."""
        release = record.environment.get("engine_release")
        learnt = self._by_release.setdefault(release, _Learnt())
        learnt.offload.learn(record)
        learnt.lessons.learn(record)
        self._compiled.learn(record)
        said = record.ledger.kv_cache_gib if record.ledger is not None else None
        warm = _warm_kv_bytes(record.predicted)
        if said is None or warm is None:
            return
        if not is_cold(record):
            learnt.warm.append(said * BYTES_PER_GIB - warm)
            return
        more = record.predicted.get("cold_bytes")
        if more is not None:
            learnt.cold.append(said * BYTES_PER_GIB - (warm - more))

    def _of(self, release: str) -> _Learnt:
        """What is known of a release; records that name none count for any."""
        return self._by_release.get(release) or self._by_release.setdefault(None, _Learnt())


def _warm_kv_bytes(predicted: Mapping[str, float]) -> float | None:
    """KV bytes as estimated for a warm start, uncorrected; None where they were asked for."""
    kv, correction = predicted.get("kv_cache_bytes"), predicted.get("kv_correction_bytes")
    if kv is None or correction is None:
        return None
    return kv - correction + predicted.get("kv_cold_bytes", 0.0)


def _kv(
    settings: MemorySettings, estimated: Terms, total: float | None, learnt: _Learnt, state: State
) -> tuple[float | None, float, float]:
    """KV bytes, by how much they may be wrong, and what trials added to them.

    The favourable end is that of a warm start in any case: who compiles once need not again.
    """
    if settings.kv_bytes is not None:
        return float(settings.kv_bytes), 0.0, 0.0
    if total is None:
        return None, 0.0, 0.0
    correction, spread = learnt.correction(estimated, cold=state == "cold")
    warm = settings.utilization * total - estimated.budgeted + correction
    taken = estimated.cold if state == "cold" else 0.0
    return warm - taken, spread + taken, correction


def _gpu_total(context: LaunchContext) -> float | None:
    """GPU memory as CUDA counts it: NVML's figure less what the driver keeps."""
    gpu = context.hardware.gpu
    if gpu is None or context.capabilities.platform == "cpu":
        return None
    return gpu.memory_bytes - reserve_bytes(context)


def reserve_bytes(context: LaunchContext, unsaid: int = DRIVER_RESERVE_BYTES) -> float:
    """What the driver keeps of the GPU, by its own word where it gives one.

    WSL2 shows all of it to CUDA.
    """
    gpu = context.hardware.gpu
    if gpu is None or context.hardware.is_wsl:
        return 0.0
    return float(unsaid if gpu.reserved_bytes is None else gpu.reserved_bytes)
