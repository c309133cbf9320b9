"""Sizes of known models against figures published elsewhere."""

from typing import Any

import pytest

from autotune.engines.model_shape import ModelShape, shape_of
from autotune.errors import ModelError
from autotune.seams.engine import ModelFacts

MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2,
    "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
OPT_125M = {
    "model_type": "opt", "hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "vocab_size": 50272, "max_position_embeddings": 2048,
}  # fmt: skip
SMALL = {
    "model_type": "qwen2", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096,
}  # fmt: skip


def shape(config: dict[str, Any]) -> ModelShape:
    """The shape of a model called m."""
    return shape_of(ModelFacts(name="m", config=config))


def test_mixtral_has_the_parameters_of_its_model_card() -> None:
    """Mixtral 8x7B: 46,702,792,704 parameters by its safetensors index."""
    assert shape(MIXTRAL).parameters == 46_702_792_704


def test_mixtral_uses_two_of_eight_experts_per_token() -> None:
    """The Mixtral paper (arXiv 2401.04088) gives 13B active parameters."""
    assert shape(MIXTRAL).active_parameters == pytest.approx(12.9e9, rel=0.03)


def test_an_ordinary_decoder_with_old_key_names_is_sized() -> None:
    """OPT-125m is called so for its 125M parameters; positions are not counted here."""
    assert shape(OPT_125M).parameters == pytest.approx(125e6, rel=0.02)


def test_kv_bytes_of_a_real_cpu_server() -> None:
    """A real vLLM 0.32 on the CPU reported 2,097,152 tokens in 1 GiB for this two-layer model."""
    assert 2**30 // shape(SMALL).kv_bytes_per_token("auto") == 2_097_152


def test_fp8_cache_takes_half_the_bytes() -> None:
    """One byte per element instead of two, whichever fp8 spelling."""
    sized = shape(SMALL)
    for dtype in ("fp8", "fp8_e4m3", "fp8_e5m2"):
        assert sized.kv_bytes_per_token(dtype) * 2 == sized.kv_bytes_per_token(None)


def test_latent_attention_keeps_one_compressed_vector_per_token() -> None:
    """DeepSeek-V3: 512 latent + 64 rotary elements per token and layer (arXiv 2412.19437)."""
    config = {**SMALL, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_hidden_layers": 61}
    assert shape(config).kv_bytes_per_token("auto") == 61 * 576 * 2


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
)
def test_a_missing_key_is_named(key: str) -> None:
    """A config that cannot be sized says which key it lacks."""
    config = {k: v for k, v in SMALL.items() if k != key}
    with pytest.raises(ModelError, match=key):
        shape(config)


@pytest.mark.parametrize("value", ["many", True, -1, [], {}])
def test_a_key_that_is_no_number_is_named(value: object) -> None:
    """Garbage under a key is a ModelError, never a TypeError."""
    with pytest.raises(ModelError, match="num_hidden_layers"):
        shape({**SMALL, "num_hidden_layers": value})


def test_a_multimodal_config_is_sized_by_its_text_model() -> None:
    """Keys under text_config win over those of the wrapper."""
    wrapped = {"model_type": "wrapper", "hidden_size": 1, "text_config": SMALL}
    assert shape(wrapped).parameters == shape(SMALL).parameters


def test_quantization_is_read_in_its_common_spellings() -> None:
    """AWQ, block-wise fp8 and compressed-tensors name bits and groups differently."""
    fp8 = shape({**SMALL, "quantization_config": {
        "quant_method": "fp8", "weight_block_size": [128, 128]}})  # fmt: skip
    packed = shape({**SMALL, "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 64}}}}})  # fmt: skip
    assert (fp8.quantization, fp8.weight_bits, fp8.group_size) == ("fp8", 8, 128)
    assert (packed.weight_bits, packed.group_size) == (4, 64)


def test_windows_count_only_where_they_are_used() -> None:
    """Qwen2.5 names a window and turns it off; a mixed model names its layers."""
    off = shape({**SMALL, "sliding_window": 4096, "use_sliding_window": False})
    mixed = shape({**SMALL, "sliding_window": 1024,
                   "layer_types": ["sliding_attention", "full_attention"]})  # fmt: skip
    assert (off.sliding_layers, off.sliding_window_tokens) == (0, None)
    assert (mixed.sliding_layers, mixed.sliding_window_tokens) == (1, 1024)


def test_flops_grow_with_the_context() -> None:
    """Two per active parameter, and attention over what came before."""
    sized = shape(SMALL)
    assert sized.flops_per_token() == 2 * sized.active_parameters
    assert sized.flops_per_token(1000) - sized.flops_per_token() == 4 * 2 * 4 * 32 * 1000
