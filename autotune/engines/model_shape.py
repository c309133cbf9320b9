"""The shape of a decoder, read from its config.json, and the sizes that follow from it.

Parameter counts follow the reference implementations in Hugging Face transformers
(`models/{qwen2,qwen3,llama,mistral,mixtral,qwen3_moe}/modeling_*.py`); KV bytes follow vLLM's
`v1/kv_cache_interface.py` (`AttentionSpec.page_size_bytes`): 2 x KV heads x head size x bytes.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.decoder_config import (
    DecoderConfig,
    experts_of,
    layer_kinds_of,
    weight_format_of,
)
from autotune.seams.engine import ModelFacts

_FP8_BYTES: Final = 1
_LATENT_FP8_BYTES: Final = 656
"""Per token and layer of `fp8_ds_mla` (vLLM v1/kv_cache_interface.py: 512 + 16 + 128)."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What memory and time depend on.

    Attributes:
        layers: Decoder layers.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key/value heads.
        head_dim: Width of one head.
        intermediate: Width of a dense feed-forward layer.
        vocab: Rows of the embedding.
        max_position_tokens: Longest sequence by the model's own config.
        tied_embeddings: Whether input and output embedding are one matrix.
        qkv_bias: Whether query, key and value have a bias.
        output_bias: Whether the attention's output projection has one.
        qk_norm: Whether query and key are normalised per head (Qwen3).
        gated_mlp: Three matrices per feed-forward layer instead of two.
        experts: Routed experts per mixture layer, 0 for a dense model.
        experts_per_token: How many of them see one token.
        moe_intermediate: Width of one expert.
        moe_layers: Layers that are mixtures.
        shared_intermediate: Width of the expert that sees every token, 0 for none.
        quantization: Method of the checkpoint ("awq", "gptq", "fp8", ...), None for none.
        weight_bits: Bits of one weight in a linear layer.
        group_size: Weights that share a scale; None for one scale per output channel.
        dtype_bytes: Bytes of an activation and of an unquantized weight.
        sliding_window_tokens: Reach of the layers that only see the last tokens.
        sliding_layers: How many those are.
        stateless_layers: Layers without a KV cache (linear attention, Mamba).
        kv_latent_dim: Width of the compressed KV of multi-head latent attention, per token.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_position_tokens: int
    tied_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    gated_mlp: bool = True
    experts: int = 0
    experts_per_token: int = 0
    moe_intermediate: int = 0
    moe_layers: int = 0
    shared_intermediate: int = 0
    quantization: str | None = None
    weight_bits: int = 16
    group_size: int | None = None
    dtype_bytes: int = 2
    sliding_window_tokens: int | None = None
    sliding_layers: int = 0
    stateless_layers: int = 0
    kv_latent_dim: int | None = None

    @property
    def attention_weights(self) -> int:
        """Weights of one layer's four attention matrices, biases left out."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return self.hidden * (2 * query + 2 * key)

    @property
    def mlp_matrices(self) -> int:
        """Matrices of one feed-forward layer."""
        return 3 if self.gated_mlp else 2

    @property
    def linear_parameters(self) -> int:
        """Weights that quantization shrinks: attention and feed-forward matrices."""
        dense = (self.layers - self.moe_layers) * self.intermediate
        routed = self.moe_layers * (self.experts * self.moe_intermediate + self.shared_intermediate)
        feed_forward = self.mlp_matrices * self.hidden * (dense + routed)
        return self.layers * self.attention_weights + feed_forward

    @property
    def embedding_parameters(self) -> int:
        """Input and output embedding; one matrix if they are tied."""
        return self.vocab * self.hidden * (1 if self.tied_embeddings else 2)

    @property
    def small_parameters(self) -> int:
        """Norms, biases and routers: never quantized."""
        bias = (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        per_layer = 2 * self.hidden + bias
        per_layer += self.hidden if self.output_bias else 0
        per_layer += 2 * self.head_dim if self.qk_norm else 0
        gate = self.hidden if self.shared_intermediate else 0
        routers = self.moe_layers * (self.hidden * self.experts + gate)
        return self.layers * per_layer + routers + self.hidden

    @property
    def parameters(self) -> int:
        """All parameters of the unquantized model."""
        return self.linear_parameters + self.embedding_parameters + self.small_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token is multiplied with, the output embedding included."""
        idle = self.moe_layers * (self.experts - self.experts_per_token) * self.moe_intermediate
        used = self.linear_parameters - self.mlp_matrices * self.hidden * idle
        return used + self.vocab * self.hidden

    @property
    def bytes_per_linear_weight(self) -> float:
        """Bytes of one weight of a linear layer, its share of scales and zero points included.

        AWQ and GPTQ keep, per group, a 16-bit scale and a zero point of `weight_bits` bits
        (AutoAWQ's WQLinear_GEMM, AutoGPTQ's QuantLinear); block-wise fp8 one 32-bit scale per
        128 x 128 block.
        """
        if self.quantization is None:
            return float(self.dtype_bytes)
        weight = self.weight_bits / 8
        if self.group_size is None:
            return weight
        if self.weight_bits == 8 and self.quantization == "fp8":
            return weight + 4 / self.group_size**2
        return weight + (2 + self.weight_bits / 8) / self.group_size

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights as loaded; embeddings, norms and biases stay unquantized."""
        plain = self.embedding_parameters + self.small_parameters
        return round(
            self.linear_parameters * self.bytes_per_linear_weight + plain * self.dtype_bytes
        )

    def kv_bytes_per_token_and_layer(self, kv_cache_dtype: str | None = None) -> int:
        """Bytes that one token takes in one layer's KV cache.

        Args:
            kv_cache_dtype: As vLLM spells it; None and "auto" mean the model's own type.
        """
        name = (kv_cache_dtype or "auto").lower()
        element = kv_element_bytes(name, self.dtype_bytes)
        if self.kv_latent_dim is not None:
            return _LATENT_FP8_BYTES if name == "fp8_ds_mla" else self.kv_latent_dim * element
        per_head = self.head_dim * element
        if name.endswith("per_token_head"):
            per_head = (self.head_dim * (4 if name.startswith("int4") else 8)) // 8 + 4
        elif name.startswith("nvfp4"):
            per_head = self.head_dim // 2 + self.head_dim // 16
        return 2 * self.kv_heads * per_head

    def kv_bytes_per_token(self, kv_cache_dtype: str | None = None) -> int:
        """Bytes that one token takes in the KV cache of all layers.

        Layers without a KV cache do not count; layers with a sliding window do, for as long as
        the token is in reach.
        """
        cached = self.layers - self.stateless_layers
        return cached * self.kv_bytes_per_token_and_layer(kv_cache_dtype)

    def flops_per_token(self, context_tokens: int = 0) -> int:
        """Floating-point operations for one token that sees so many tokens before it.

        Two per active parameter, and for the attention scores and their sum 4 x heads x head
        size per layer and token of context (Kaplan et al. 2020, section 2.1).
        """
        attention = 4 * self.layers * self.heads * self.head_dim * context_tokens
        return 2 * self.active_parameters + attention


def kv_element_bytes(kv_cache_dtype: str | None, dtype_bytes: int = 2) -> int:
    """Bytes of one element of a KV cache of plain type; the model's own for None and "auto"."""
    name = (kv_cache_dtype or "auto").lower()
    if name.startswith(("fp8", "int8")):
        return _FP8_BYTES
    if name in {"bfloat16", "float16", "half"}:
        return 2
    return 4 if name in {"float", "float32"} else dtype_bytes


_TIED: Final = ("gemma", "opt", "gpt2", "falcon", "bloom")
_TWO_MATRICES: Final = ("opt", "gpt2", "falcon", "bloom", "gpt_neox", "gptj", "phi", "starcoder2")
_QKV_BIAS: Final = ("qwen2", "qwen2_moe", "qwen", "gpt2", "opt", "bloom", "gpt_neox", "phi")
_OUTPUT_BIAS: Final = ("gpt2", "opt", "bloom", "gpt_neox", "phi")
_QK_NORM: Final = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text")


def shape_of(facts: ModelFacts) -> ModelShape:
    """Read a model's shape out of its config.json.

    A float32 checkpoint counts as 16 bit, for vLLM serves it so (`config/model.py`,
    `_resolve_auto_dtype`).

    Raises:
        ModelError: Naming the key that is missing.
    """
    config = DecoderConfig(facts.name, facts.config)
    heads, hidden = config.number("num_attention_heads"), config.number("hidden_size")
    layers, kind = config.number("num_hidden_layers"), config.model_type
    gated = kind == "phi3" or not kind.startswith(_TWO_MATRICES)
    bias = config.flag("attention_bias", default=False)
    experts, kinds = experts_of(config, layers), layer_kinds_of(config, layers)
    weights = weight_format_of(config)
    return ModelShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=config.number("head_dim", hidden // max(heads, 1)),
        intermediate=config.number("intermediate_size", None if gated else 4 * hidden),
        vocab=config.number("vocab_size"),
        max_position_tokens=config.number("max_position_embeddings", 2048),
        tied_embeddings=config.flag("tie_word_embeddings", default=kind.startswith(_TIED)),
        qkv_bias=bias or kind in _QKV_BIAS,
        output_bias=bias or kind in _OUTPUT_BIAS,
        qk_norm=kind in _QK_NORM,
        gated_mlp=gated,
        experts=experts.count,
        experts_per_token=experts.per_token,
        moe_intermediate=experts.intermediate,
        moe_layers=experts.layers,
        shared_intermediate=experts.shared_intermediate,
        quantization=weights.method,
        weight_bits=weights.bits,
        group_size=weights.group_size,
        sliding_layers=kinds.sliding,
        sliding_window_tokens=kinds.window_tokens,
        stateless_layers=kinds.stateless,
        kv_latent_dim=_latent_dim(config),
    )


def _kv_heads(config: DecoderConfig, heads: int) -> int:
    """Falcon's first generation has one KV head without saying so."""
    old_falcon = config.model_type == "falcon" and not config.flag(
        "new_decoder_architecture", default=False
    )
    if old_falcon and config.flag("multi_query", default=False):
        return 1
    return config.number("num_key_value_heads", heads)


def _latent_dim(config: DecoderConfig) -> int | None:
    """Width of multi-head latent attention's KV: the compressed part and the rotary key."""
    if config.find("kv_lora_rank") is None:
        return None
    return config.number("kv_lora_rank") + config.number("qk_rope_head_dim", 0)
