"""Which attention backend a server runs: the one asked for, or the first that can.

Follows `platforms/cuda.py` (`get_attn_backend_cls`) and the backends' own checks in
`v1/attention/backends/`, releases 0.8.5 to 0.33.0.
"""

from dataclasses import replace
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.refusals import (
    Refusal,
    StartRefused,
    config_error,
    core_error,
    invalid_backend,
)
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
    raise StartRefused(
        core_error(
            "ValueError: No valid attention backend found for cuda with "
            f"AttentionSelectorConfig(head_size={shape.head_dim}, "
            f"kv_cache_dtype={settings.kv_cache_dtype}, block_size={settings.block_size})."
        )
    )


def _explicit(settings: ServeSettings, asked: str, card: Card) -> ServeSettings:
    release = settings.release
    if asked not in release.backends:
        listed = list(release.backends)
        text = f"ValueError: Invalid attention backend: '{asked}'. Valid backends are: {listed}"
        raise StartRefused(config_error(text))
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
    fp8 = "kv_cache_dtype not supported" in reasons
    if name == "TRITON_ATTN" and fp8 and settings.fp8_kv:
        return core_error(_triton_words(settings, card))
    if name == "FLASH_ATTN" and fp8 and not release.since(0, 11, 1):
        text = "NotImplementedError: FlashAttention does not support fp8 kv-cache on this device."
        return core_error(text)
    return core_error(invalid_backend(name, reasons))


def _triton_words(settings: ServeSettings, card: Card) -> str:
    """A clean refusal from 0.24.0; before, Triton's compiler fails (#26431)."""
    if not settings.release.since(0, 24):
        return (
            "triton.compiler.errors.CompilationError: type fp8e4nv not supported in this "
            "architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')"
        )
    major, minor = card.compute_capability
    return (
        "ValueError: FP8 KV cache is not supported by the Triton attention backend on "
        f"{card.title} (compute capability {major}.{minor}); native FP8 (fp8e4nv) requires SM89+. "
        "Re-run with --kv-cache-dtype bfloat16."
    )
