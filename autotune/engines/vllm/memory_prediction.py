"""What a start is expected to take, and the verdict on it.

A configuration is refused only if it cannot fit even where every estimate errs to its
disadvantage.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autotune.engines.vllm.host_memory import HostNeed
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.memory_terms import LEAST_CONTEXT_BYTES, Terms
from autotune.records import Failure, FailureKind, Scalar
from autotune.units import gib_from_bytes


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a start is expected to take.

    Attributes:
        kv_bytes: KV cache of one rank; None where it cannot be known (CPU without a size).
        kv_uncertainty_bytes: Half the width of the interval around it.
        kv_needed_bytes: KV bytes of one request of the longest length.
        kv_tokens: Tokens that vLLM will report.
        first_start_tokens: The same of a start that compiles its graphs; None where the KV bytes
            were asked for.
        later_start_tokens: The same of a start that finds them.
        longest_tokens: Longest request that fits at the favourable end.
        gpu_total_bytes: GPU memory as CUDA sees it; None without a GPU.
        reserve_bytes: GPU memory beside it that the driver keeps.
        least_reserve_bytes: The least that this can be.
        terms: Everything else on the GPU.
        host: Host memory.
        settings: What was resolved.
        is_cold: Whether its compile cache is known to be empty.
        is_text_only: Whether all that the model is profiled with is text.
    """

    kv_bytes: float | None
    kv_uncertainty_bytes: float
    kv_needed_bytes: float
    kv_tokens: int | None
    first_start_tokens: int | None
    later_start_tokens: int | None
    longest_tokens: int
    gpu_total_bytes: float | None
    terms: Terms
    host: HostNeed
    settings: MemorySettings
    correction_bytes: float = 0.0
    reserve_bytes: float = 0.0
    least_reserve_bytes: float = 0.0
    is_cold: bool = False
    is_text_only: bool = True

    @property
    def is_estimated(self) -> bool:
        """Whether the KV bytes are what is left of a GPU's share, not what was asked for."""
        return self.gpu_total_bytes is not None and self.settings.kv_bytes is None

    @property
    def share_bytes(self) -> float:
        """The share of GPU memory that is asked for; 0 without a GPU."""
        return self.settings.utilization * (self.gpu_total_bytes or 0.0)

    @property
    def gpu_bytes(self) -> float | None:
        """The most on the GPU while the server runs, as NVML counts it."""
        if self.gpu_total_bytes is None or self.kv_bytes is None:
            return None
        t = self.terms
        own = t.weights + t.weights_held + t.non_torch + t.graphs + max(0.0, self.kv_bytes)
        own += t.activation_under_load
        return own + t.sampler_state + t.after_profiling + t.context + self.reserve_bytes

    @property
    def least_used_bytes(self) -> float | None:
        """GPU memory in use at the peak, as NVML counts it, with every estimate at its least.

        vLLM fills its share: KV memory is what the weights and the peak of activations leave of
        it. That peak may not come again; the context and what the driver keeps come on top.
        """
        asked, t = self.settings.kv_bytes, self.terms
        if self.gpu_total_bytes is None:
            return None
        own = self.share_bytes - t.activation if asked is None else 0.97 * t.weights + asked
        outside = LEAST_CONTEXT_BYTES if t.context > 0 else 0
        return own + outside + self.least_reserve_bytes

    @property
    def profiled_most_bytes(self) -> float:
        """The most that a start takes beside its weights by the end of profiling, compiling or not.

        What encoders of pictures and sound take is not in it.
        """
        t = self.terms
        cold = t.cold + t.cold_uncertainty
        beside = t.activation + t.non_torch + t.graphs_budgeted + t.sampler_state
        return beside + cold + t.uncertainty

    def figures(self) -> dict[str, float]:
        """As `Screening.predicted`: tags to bytes and tokens; what is unknown is absent."""
        t = self.terms
        known: dict[str, float | None] = {
            "kv_cache_tokens": as_figure(self.kv_tokens),
            "kv_cache_tokens_first_start": as_figure(self.first_start_tokens),
            "kv_cache_tokens_later_start": as_figure(self.later_start_tokens),
            "kv_cache_bytes": self.kv_bytes,
            "kv_correction_bytes": self.correction_bytes if self.is_estimated else None,
            "kv_cold_bytes": t.cold if self.is_estimated and self.is_cold else None,
            "cold_bytes": t.cold if self.is_estimated else None,
            "share_bytes": self.share_bytes if self.is_estimated else None,
            "profiled_most_bytes": (
                self.profiled_most_bytes if self.is_estimated and self.is_text_only else None
            ),
            "weights_bytes": t.weights,
            "activation_bytes": t.activation,
            "non_torch_bytes": t.non_torch,
            "graphs_bytes": t.graphs,
            "sampler_state_bytes": t.sampler_state,
            "gpu_memory_bytes": self.gpu_bytes,
            "host_memory_bytes": self.host.total_bytes,
            "offload_bytes": float(self.settings.offload_bytes),
            "shm_bytes": self.host.shm_bytes,
        }
        return {tag: float(value) for tag, value in known.items() if value is not None}


def as_figure(count: int | None) -> float | None:
    """A count as a figure of a prediction."""
    return None if count is None else float(count)


def gpu_margin_gib(prediction: Prediction) -> float | None:
    """KV bytes left over one longest request, or GPU memory left over all: the smaller."""
    used, total = prediction.gpu_bytes, prediction.gpu_total_bytes
    if prediction.kv_bytes is None or used is None or total is None:
        return None
    left = total + prediction.reserve_bytes - used
    margins = (prediction.kv_bytes - prediction.kv_needed_bytes, left)
    return round(gib_from_bytes(min(margins)), 3)


def gpu_failure(prediction: Prediction) -> Failure | None:
    """Why the KV cache cannot hold one request even at the favourable end; None if it may."""
    kv = prediction.kv_bytes
    if kv is None:
        return None
    best = kv + prediction.kv_uncertainty_bytes
    free = _most_free(prediction)
    if free is not None and prediction.share_bytes > free:
        share = int(free / (prediction.gpu_total_bytes or free) * 100) / 100
        message = f"a share of {prediction.settings.utilization} is more than is ever free"
        return _would_not_fit(
            message, prediction.share_bytes, free, {"gpu_memory_utilization": share}
        )
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


def headroom_failure(
    prediction: Prediction, *, card_bytes: float, headroom_bytes: float
) -> Failure | None:
    """Why a start would leave less than the headroom; None if it may leave it.

    Args:
        prediction: Of the start.
        card_bytes: GPU memory as NVML counts it.
        headroom_bytes: To stay free of it.
    """
    least, most = prediction.least_used_bytes, card_bytes - headroom_bytes
    if least is None or headroom_bytes <= 0 or least <= most:
        return None
    message = (
        f"it takes {gib_from_bytes(least):.2f} GiB of the GPU at least, and headroom leaves "
        f"{gib_from_bytes(most):.2f}"
    )
    return _would_not_fit(message, least, most, {})


def _most_free(prediction: Prediction) -> float | None:
    """Memory that can be free when vLLM looks, its own context made; None where it does not.

    From 0.9.2 a share above that is refused (v1/worker/utils.py, `request_memory`), also where
    the KV bytes are asked for directly.
    """
    if prediction.gpu_total_bytes is None or prediction.terms.context <= 0:
        return None
    return prediction.gpu_total_bytes - LEAST_CONTEXT_BYTES


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
