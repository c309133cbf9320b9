"""Which attention backend a server runs: the one asked for, or the first that can.

Follows `platforms/cuda.py` (`get_attn_backend_cls`) and the backends' own checks in
`v1/attention/backends/`, releases 0.8.5 to 0.33.0.
"""

from dataclasses import replace
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated import words
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.refusals import Refusal, StartRefused, config_error, core_error
from autotune.engines.simulated.settings import ServeSettings

_ORDER: Final = ("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION")
_OLD_NAMES: Final = {
    "TRITON_ATTN_VLLM_V1": "TRITON_ATTN",
    "FLASH_ATTN_VLLM_V1": "FLASH_ATTN",
    "FLASHINFER_VLLM_V1": "FLASHINFER",
}


def with_backend(
    settings: ServeSettings, asked: str | None, card: Card, shape: ModelShape
) -> ServeSettings:
    """The settings with their attention backend.

    Args:
        settings: Of the server so far.
        asked: Name that the user gave; None or "auto" leaves it to the engine.
        card: Decides by its compute capability.
        shape: Of the model, for the engine's words.

    Raises:
        StartRefused: If the backend asked for, or every backend, cannot serve these settings.
    """
    if asked is not None and asked.lower() != "auto":
        return _explicit(settings, asked.upper(), card)
    order = (
        ("FLASHINFER", "FLASH_ATTN", *_ORDER[2:]) if card.compute_capability[0] == 10 else _ORDER
    )
    for name in order:
        if not _objections(name, settings, card) and not _skipped(name, settings):
            return replace(settings, attention_backend=name)
    text = words.no_backend(shape.head_dim, settings.kv_cache_dtype, settings.block_size)
    raise StartRefused(core_error(text))


def _explicit(settings: ServeSettings, asked: str, card: Card) -> ServeSettings:
    release = settings.release
    if asked not in release.backends:
        raise StartRefused(config_error(words.unknown_backend(asked, release.backends)))
    name = _OLD_NAMES.get(asked, asked)
    reasons = _objections(name, settings, card)
    if reasons:
        raise StartRefused(_refusal(name, reasons, settings, card))
    return replace(settings, attention_backend=name, backend_is_explicit=True)


def _skipped(name: str, settings: ServeSettings) -> bool:
    """To 0.11.0 an fp8 KV cache meant Triton where FlashAttention could not."""
    return name == "FLASHINFER" and settings.fp8_kv and not settings.release.since(0, 11, 1)


def _objections(name: str, settings: ServeSettings, card: Card) -> list[str]:
    """Why a backend cannot serve these settings on this card, in vLLM's words."""
    reasons = []
    if settings.fp8_kv and not _holds_fp8(name, settings, card):
        reasons.append("kv_cache_dtype not supported")
    if settings.kv_cache_dtype.endswith("per_token_head") and name != "TRITON_ATTN":
        reasons.append("kv_cache_dtype not supported")
    if settings.block_size % 16:
        reasons.append("block_size not supported")
    return reasons


def _holds_fp8(name: str, settings: ServeSettings, card: Card) -> bool:
    release, capability = settings.release, card.compute_capability
    if name == "FLASH_ATTN":
        able = capability[0] == 9 or (capability[0] == 10 and release.since(0, 27))
        return able and not (settings.kv_cache_dtype == "fp8_e5m2" and release.since(0, 26))
    if name == "TRITON_ATTN":
        return capability >= (8, 9)
    return name != "FLEX_ATTENTION"


def _refusal(name: str, reasons: list[str], settings: ServeSettings, card: Card) -> Refusal:
    release = settings.release
    if name == "TRITON_ATTN" and settings.fp8_kv and not _holds_fp8(name, settings, card):
        return core_error(words.triton_fp8(release, card.title, card.compute_capability))
    return core_error(words.invalid_backend(release, name, reasons))
