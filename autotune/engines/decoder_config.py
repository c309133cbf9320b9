"""Reading a decoder's config.json, whose keys have several spellings.

Spellings and defaults per model type follow Hugging Face transformers
(`models/*/configuration_*.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autotune.errors import ModelError

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "hidden_size": ("n_embd", "d_model"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "d_ff"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "seq_length", "max_sequence_length", "n_ctx"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("moe_top_k", "top_k_experts"),
}


class DecoderConfig:
    """A config.json, its text model's keys on top.

    Args:
        name: The model, for messages.
        raw: The file's content.
    """

    def __init__(self, name: str, raw: Mapping[str, Any]) -> None:
        inner = raw.get("text_config")
        self._raw: dict[str, Any] = {**raw, **(inner if isinstance(inner, dict) else {})}
        self._name = name

    @property
    def model_type(self) -> str:
        """Family by the config's own word, lower case; empty where it does not say."""
        return str(self._raw.get("model_type", "")).lower()

    def find(self, key: str) -> Any:
        """The value under a key or one of its other spellings; None if there is none."""
        for spelling in (key, *_ALIASES.get(key, ())):
            value = self._raw.get(spelling)
            if value is not None:
                return value
        return None

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number >= 0; of a list with one per layer the largest.

        Raises:
            ModelError: If it is missing without a default, or no number.
        """
        value = self.find(key)
        if value is None:
            value = default
        if isinstance(value, list):
            value = max((v for v in value if isinstance(v, int)), default=None)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            what = "lacks" if value is None else "has no usable number under"
            message = f"the config.json of {self._name} {what} {key!r}"
            hint = "autotune sizes ordinary decoders; give a model whose config has this key."
            raise ModelError(message, hint=hint)
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """A truth value."""
        value = self.find(key)
        return default if value is None else bool(value)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The mixture layers of a decoder; all 0 for a dense one."""

    count: int = 0
    per_token: int = 0
    intermediate: int = 0
    layers: int = 0
    shared_intermediate: int = 0


def experts_of(config: DecoderConfig, layers: int) -> Experts:
    """Which layers are mixtures, and how wide (Mixtral, Qwen-MoE, DeepSeek spellings)."""
    count = config.number("num_experts", 0)
    if count == 0:
        return Experts()
    step = max(1, config.number("decoder_sparse_step", 1))
    dense_first = config.number("first_k_dense_replace", 0)
    dense_listed = config.find("mlp_only_layers") or ()
    mixtures = sum(
        (layer + 1) % step == 0 and layer not in dense_listed
        for layer in range(dense_first, layers)
    )
    width = config.number("moe_intermediate_size", config.number("intermediate_size", 0))
    shared = config.number("shared_expert_intermediate_size", 0)
    shared += config.number("n_shared_experts", 0) * width
    return Experts(
        count=count,
        per_token=config.number("num_experts_per_tok", count),
        intermediate=width,
        layers=mixtures,
        shared_intermediate=shared,
    )


@dataclass(frozen=True, kw_only=True)
class LayerKinds:
    """How many layers keep a KV cache for a window only, or none at all."""

    sliding: int = 0
    window_tokens: int | None = None
    stateless: int = 0


def layer_kinds_of(config: DecoderConfig, layers: int) -> LayerKinds:
    """From `layer_types`, `sliding_window` and `use_sliding_window`."""
    kinds = [str(kind) for kind in config.find("layer_types") or ()][:layers]
    stateless = sum("linear" in kind or "mamba" in kind for kind in kinds)
    window = config.find("sliding_window")
    if not isinstance(window, int) or not config.flag("use_sliding_window", default=True):
        return LayerKinds(stateless=stateless)
    sliding = sum("sliding" in kind for kind in kinds) if kinds else layers
    if sliding == 0:
        return LayerKinds(stateless=stateless)
    return LayerKinds(sliding=sliding, window_tokens=window, stateless=stateless)


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """How the checkpoint stores its linear weights."""

    method: str | None = None
    bits: int = 16
    group_size: int | None = None


def weight_format_of(config: DecoderConfig) -> WeightFormat:
    """From `quantization_config`: AWQ, GPTQ, fp8, bitsandbytes, compressed-tensors."""
    raw = config.find("quantization_config") or config.find("compression_config")
    if not isinstance(raw, dict):
        return WeightFormat()
    method = str(raw.get("quant_method", "")).lower() or "unknown"
    if method == "bitsandbytes":
        return WeightFormat(method=method, bits=8 if raw.get("load_in_8bit") else 4, group_size=64)
    weights = _compressed_weights(raw)
    bits = raw.get("bits") or raw.get("w_bit") or weights.get("num_bits")
    group = raw.get("group_size") or raw.get("q_group_size") or weights.get("group_size")
    blocks = raw.get("weight_block_size")
    if isinstance(blocks, list) and blocks:
        group = blocks[0]
    default_bits = 4 if method in {"awq", "gptq", "mxfp4"} else 8
    return WeightFormat(
        method=method,
        bits=int(bits or default_bits),
        group_size=group if isinstance(group, int) and group > 0 else None,
    )


def _compressed_weights(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights' entry of a compressed-tensors config, empty where there is none."""
    groups = raw.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    return weights if isinstance(weights, dict) else {}
