"""What goes with what, against vLLM's own rules by kernel, GPU and release."""

import pytest

from autotune.engines.vllm.compatibility import (
    Circumstances,
    model_length,
    model_traits,
    rule_book,
    rules_from,
)
from autotune.engines.vllm.releases import parse_release
from autotune.errors import SpecError
from autotune.records import Scalar

AMPERE, ADA, HOPPER, BLACKWELL, WORKSTATION = (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)


def at(release: str, capability: tuple[int, int] | None = None, **more: object) -> Circumstances:
    """A release on a GPU."""
    platform = "cpu" if capability is None and not more else "cuda"
    return Circumstances(
        release=parse_release(release),
        platform=str(more.pop("platform", platform)),
        capability=capability,
        **more,  # type: ignore[arg-type] # keyword arguments of the class
    )


def verdicts(values: dict[str, Scalar], where: Circumstances) -> set[str]:
    """What the rules say of a configuration."""
    return {rule.verdict for rule in rule_book().hits(values, where)}


# docs/design/attention_backends.md of 0.20.2 and 0.26.0, supports_kv_cache_dtype of 0.11.2 to
# 0.33.0; TRITON_ATTN below 8.9: vLLM issue 26431.
FP8 = [
    ("FLASH_ATTN", "0.11.2", AMPERE, False),
    ("FLASH_ATTN", "0.20.2", ADA, False),
    ("FLASH_ATTN", "0.11.2", HOPPER, True),
    ("FLASH_ATTN", "0.26.0", HOPPER, True),
    ("FLASH_ATTN", "0.33.0", HOPPER, True),
    ("FLASH_ATTN", "0.26.0", BLACKWELL, False),
    ("FLASH_ATTN", "0.27.0", BLACKWELL, True),
    ("FLASH_ATTN", "0.33.0", WORKSTATION, False),
    ("FLASHINFER", "0.11.2", AMPERE, True),
    ("FLASHINFER", "0.20.2", ADA, True),
    ("FLASHINFER", "0.33.0", HOPPER, True),
    ("FLASHINFER", "0.33.0", WORKSTATION, True),
    ("TRITON_ATTN", "0.20.2", AMPERE, False),
    ("TRITON_ATTN", "0.33.0", AMPERE, False),
    ("TRITON_ATTN", "0.20.2", ADA, True),
    ("TRITON_ATTN", "0.33.0", WORKSTATION, True),
    ("FLEX_ATTENTION", "0.33.0", HOPPER, False),
    ("FLEX_ATTENTION", "0.11.2", ADA, False),
    # To 0.10.2 anything but these switches to the V0 engine (arg_utils.py, platforms/cuda.py).
    ("FLASH_ATTN", "0.9.2", HOPPER, False),
    ("FLASHINFER", "0.9.2", HOPPER, False),
    ("FLASHINFER", "0.10.0", HOPPER, False),
    ("FLASHINFER", "0.10.0", BLACKWELL, True),
    ("FLASHINFER", "0.10.2", AMPERE, True),
    ("TRITON_ATTN", "0.10.2", ADA, True),
    ("TRITON_ATTN", "0.10.2", AMPERE, False),
    ("FLASH_ATTN", "0.10.2", HOPPER, False),
]


@pytest.mark.parametrize(("kernel", "release", "capability", "allowed"), FP8)
def test_fp8_kv_cache_by_kernel_gpu_and_release(
    kernel: str, release: str, capability: tuple[int, int], *, allowed: bool
) -> None:
    """A kernel that cannot hold fp8 is refused, one that can is not."""
    values: dict[str, Scalar] = {"attention_backend": kernel, "kv_cache_dtype": "fp8"}
    assert ("refused" not in verdicts(values, at(release, capability))) == allowed


@pytest.mark.parametrize(
    ("release", "capability", "allowed"),
    [
        ("0.8.5", ADA, False),
        ("0.8.5", HOPPER, True),
        ("0.10.0", WORKSTATION, False),
        ("0.10.0", BLACKWELL, True),
        ("0.10.2", ADA, False),
        ("0.10.2", HOPPER, True),
        ("0.11.0", AMPERE, False),
        ("0.11.0", ADA, True),
        ("0.11.2", AMPERE, True),
        ("0.33.0", WORKSTATION, True),
    ],
)
def test_fp8_kv_cache_with_the_kernel_that_the_engine_picks(
    release: str, capability: tuple[int, int], *, allowed: bool
) -> None:
    """Old releases switch engines or pick a kernel that fails; from 0.11.1 one is found."""
    found = verdicts({"kv_cache_dtype": "fp8"}, at(release, capability))
    assert ("refused" not in found) == allowed


@pytest.mark.parametrize("kernel", ["FLASHINFER", None])
def test_fp8_with_flashinfer_on_sm_12x_is_fragile_and_triton_is_not(kernel: str | None) -> None:
    """Wrong text and crashes were reported for the one, none for the other."""
    values: dict[str, Scalar] = {"kv_cache_dtype": "fp8"}
    asked = values if kernel is None else {**values, "attention_backend": kernel}
    assert "fragile" in verdicts(asked, at("0.33.0", WORKSTATION))
    assert (
        verdicts({**values, "attention_backend": "TRITON_ATTN"}, at("0.33.0", WORKSTATION)) == set()
    )
    assert "fragile" not in verdicts(asked, at("0.33.0", ADA))


def test_naming_the_engine_s_own_pick_is_redundant() -> None:
    """FLASH_ATTN comes first but on compute capability 10.x, where FLASHINFER does."""
    asked: dict[str, Scalar] = {"attention_backend": "FLASH_ATTN"}
    assert verdicts(asked, at("0.33.0", WORKSTATION)) == {"redundant"}
    assert verdicts(asked, at("0.33.0", BLACKWELL)) == set()
    assert verdicts({"attention_backend": "FLASHINFER"}, at("0.33.0", WORKSTATION)) == set()


@pytest.mark.parametrize(
    ("dtype", "kernel", "allowed"),
    [
        ("turboquant_k8v4", "TURBOQUANT", True),
        ("turboquant_k8v4", "FLASH_ATTN", False),
        ("fp8", "TURBOQUANT", False),
        ("int8_per_token_head", "TRITON_ATTN", True),
        ("int8_per_token_head", "FLASHINFER", False),
        ("nvfp4", "FLASHINFER", True),
        ("nvfp4", "TRITON_ATTN", False),
    ],
)
def test_special_kv_types_have_one_kernel_each(dtype: str, kernel: str, *, allowed: bool) -> None:
    """supported_kv_cache_dtypes of the kernels, 0.26.0."""
    asked: dict[str, Scalar] = {"kv_cache_dtype": dtype, "attention_backend": kernel}
    assert ("refused" not in verdicts(asked, at("0.26.0", BLACKWELL))) == allowed


def test_an_unknown_gpu_meets_no_rule_about_gpus() -> None:
    """What is not known forbids nothing."""
    asked: dict[str, Scalar] = {"attention_backend": "FLASH_ATTN", "kv_cache_dtype": "fp8"}
    assert verdicts(asked, at("0.33.0", None, platform="cuda")) == set()


def test_offload_is_refused_under_wsl_and_for_hybrid_models_of_old_releases() -> None:
    """No pinned memory there; no hybrid KV cache manager here (0.14.0 to 0.20.2)."""
    asked: dict[str, Scalar] = {"kv_offload_gib": 8}
    assert verdicts(asked, at("0.33.0", ADA, is_wsl=True)) == {"refused"}
    assert verdicts({"kv_offload_gib": 0}, at("0.33.0", ADA, is_wsl=True)) == set()
    hybrid = frozenset({"hybrid"})
    assert "refused" in verdicts(asked, at("0.20.2", ADA, traits=hybrid, in_container=True))
    assert verdicts(asked, at("0.21.0", ADA, traits=hybrid, in_container=True)) == set()


def test_stale_offload_files_are_a_warning_outside_containers_only() -> None:
    """0.27.0 and 0.28.0 leave them behind when they are killed; a container takes them along."""
    asked: dict[str, Scalar] = {"kv_offload_gib": 8}
    assert verdicts(asked, at("0.27.0", ADA)) == {"fragile"}
    assert verdicts(asked, at("0.27.0", ADA, in_container=True)) == set()
    assert verdicts(asked, at("0.29.0", ADA)) == set()


def test_offload_beside_expandable_segments_is_refused_from_0_26_0() -> None:
    """The allocator's setting is the study's; other settings of it do no harm."""
    asked: dict[str, Scalar] = {"kv_offload_gib": 8}

    def with_allocator(release: str, value: str) -> set[str]:
        env = {"PYTORCH_CUDA_ALLOC_CONF": value}
        return verdicts(asked, at(release, ADA, in_container=True, env=env))

    assert with_allocator("0.26.0", "max_split_size_mb:64,expandable_segments:True") == {"refused"}
    assert with_allocator("0.26.0", "expandable_segments:False") == set()
    assert with_allocator("0.21.0", "expandable_segments:True") == set()


def test_fp8_checkpoints_take_no_e5m2() -> None:
    """The other fp8 types are fine."""
    traits = frozenset({"fp8_weights"})
    assert "refused" in verdicts({"kv_cache_dtype": "fp8_e5m2"}, at("0.33.0", ADA, traits=traits))
    assert verdicts({"kv_cache_dtype": "fp8"}, at("0.33.0", ADA, traits=traits)) == set()


def test_turing_has_no_kernel_for_fp8_from_0_26_0() -> None:
    """FLASHINFER was the last that took it."""
    turing = (7, 5)
    assert "refused" in verdicts({"kv_cache_dtype": "fp8"}, at("0.26.0", turing))
    assert verdicts({"kv_cache_dtype": "fp8"}, at("0.25.1", turing)) == set()


def test_multi_step_scheduling_goes_with_the_v0_engine_only() -> None:
    """0.8.5 to 0.10.0: V1 refuses it, asynchronous scheduling is V1's."""
    steps: dict[str, Scalar] = {"scheduler_steps": 8}
    assert verdicts(steps, at("0.10.0", ADA)) == {"fragile"}
    assert "refused" in verdicts({**steps, "v1_engine": True}, at("0.10.0", ADA))
    assert "refused" in verdicts({**steps, "async_scheduling": True}, at("0.10.0", ADA))


def test_a_default_by_its_name_counts_as_default() -> None:
    """`kv_cache_dtype: auto` is no KV type that a kernel must hold."""
    asked: dict[str, Scalar] = {"attention_backend": "TURBOQUANT", "kv_cache_dtype": "auto"}
    assert verdicts(asked, at("0.33.0", ADA)) == {"refused"}


def test_relations_hold_where_both_sides_are_set() -> None:
    """Batch limits always; the length only without chunked prefill."""

    def broken(**values: Scalar) -> list[str]:
        return [r.reason for r in rule_book().relations if r.broken_by(values)]

    assert broken(max_num_seqs=256, max_num_batched_tokens=128)
    assert not broken(max_num_seqs=256, max_num_batched_tokens=256)
    assert not broken(max_num_batched_tokens=128)
    assert not broken(max_num_batched_tokens=2048, max_model_len=8192)
    assert broken(max_num_batched_tokens=2048, max_model_len=8192, chunked_prefill=False)


@pytest.mark.parametrize(
    ("config", "traits"),
    [
        ({"num_hidden_layers": 28}, set()),
        ({"kv_lora_rank": 512}, {"mla"}),
        ({"layer_types": ["linear_attention", "full_attention"]}, {"hybrid"}),
        ({"layer_types": ["sliding_attention", "full_attention"]}, set()),
        ({"text_config": {"layer_types": ["linear_attention"]}}, {"hybrid"}),
        ({"mamba_d_state": 16, "attn_layer_period": 8}, {"hybrid"}),
        ({"quantization_config": {"quant_method": "fp8"}}, {"fp8_weights"}),
        ({"quantization_config": {"quant_method": "awq"}}, set()),
    ],
)
def test_a_model_s_attention_is_read_from_its_config(
    config: dict[str, object], traits: set[str]
) -> None:
    """Qwen2, DeepSeek V3, Qwen3-Next, Gemma 3, a vision model's text part, Jamba, quantized."""
    assert model_traits(config) == traits


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 32768}, 32768),
        ({"max_position_embeddings": 32768, "rope_scaling": {"rope_type": "yarn"}}, None),
        ({"rope_parameters": {"rope_type": "default"}, "max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({}, None),
    ],
)
def test_the_longest_request_is_read_from_the_config(
    config: dict[str, object], length: int | None
) -> None:
    """As config/model.py derives it; unknown where positions are scaled."""
    assert model_length(config) == length


def test_every_rule_has_a_reason_a_source_and_a_name_of_its_own() -> None:
    """Rules can be checked again, and told apart."""
    rules = rule_book().rules
    assert len({r.name for r in rules}) == len(rules) >= 40
    assert all(r.reason and r.source for r in rules)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"settings": {"no_such": [1]}}, "unknown parameter"),
        ({"settings": {"block_size": [1], "kv_cache_dtype": ["fp8"]}}, "yields"),
        ({"settings": {"block_size": [1]}, "verdict": "maybe"}, "verdict"),
        ({"settings": {"block_size": [1]}, "when": {"capability": [{"first": "9"}]}}, "capability"),
    ],
)
def test_a_mistake_in_the_rules_names_its_field(rule: dict[str, object], words: str) -> None:
    """The rules are checked as they are read."""
    whole = {"name": "r", "when": {}, "verdict": "refused", "reason": "r", "source": "s", **rule}
    with pytest.raises(SpecError, match=words):
        rules_from({"rules": [whole], "relations": [], "host_reserve_gib": 1}, where="rules.yaml")
