"""The space that an engine leaves: what goes, why, and what is tied together."""

from pathlib import Path

import pytest

from autotune.engines.vllm.capabilities import declared
from autotune.engines.vllm.space import resolve_space
from autotune.records import Configuration, Scalar
from autotune.seams.engine import Capabilities, ModelFacts, ResolvedSpace
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.files import read_yaml
from autotune.spec.space import AtLeast, Choice, Range, SearchSpace, space_from
from autotune.units import BYTES_PER_GIB

ROOT = Path(__file__).parents[4]
QWEN = ModelFacts(name="Qwen/Qwen2.5-7B-Instruct", config={"max_position_embeddings": 32768})


def machine(
    capability: tuple[int, int] = (12, 0),
    *,
    host_gib: int = 94,
    shm_gib: int = 0,
    wsl: bool = False,
) -> Hardware:
    """One 12 GiB GPU beside some host memory."""
    gpu = Gpu(index=0, name="gpu", memory_bytes=12 * BYTES_PER_GIB, compute_capability=capability)
    return Hardware(
        gpus=(gpu,),
        host_memory_bytes=host_gib * BYTES_PER_GIB,
        shm_bytes=shm_gib * BYTES_PER_GIB,
        is_wsl=wsl,
    )


def space_of(**parameters: object) -> SearchSpace:
    """A space out of what a file would hold."""
    return space_from({"parameters": parameters}, where="test")


def resolved(
    space: SearchSpace,
    release: str = "0.33.0",
    hardware: Hardware | None = None,
    capabilities: Capabilities | None = None,
) -> ResolvedSpace:
    """What is left of a space."""
    found = capabilities or declared(release, platform="cpu" if "cpu" in release else "cuda")
    return resolve_space(space, found, hardware or machine(), QWEN)


def choices(result: ResolvedSpace, name: str) -> tuple[Scalar, ...] | None:
    """Values that are left of a parameter; None if it is gone."""
    parameter = result.space.parameter(name)
    return None if parameter is None else parameter.grid()


def reason(result: ResolvedSpace, name: str, value: Scalar | None = None) -> str:
    """Why something was taken out."""
    (found,) = [r for r in result.removed if (r.parameter, r.value) == (name, value)]
    return found.reason


def test_a_parameter_that_the_release_lacks_goes_with_its_reason() -> None:
    """Multi-step scheduling on 0.33.0 is one removal, not one per value."""
    result = resolved(space_of(scheduler_steps={"choices": [1, 4, 8]},
                               max_num_seqs={"choices": [16, 32]}))  # fmt: skip
    assert choices(result, "scheduler_steps") is None
    assert "last in 0.10.0" in reason(result, "scheduler_steps")
    assert choices(result, "max_num_seqs") == (16, 32)
    assert len(result.removed) == 1


def test_of_two_ways_to_leave_a_parameter_to_the_engine_one_stays() -> None:
    """From 0.14.0 asking for asynchronous scheduling is the default; before, not asking is."""
    space = space_of(async_scheduling={"choices": ["default", True, False]})
    newer = resolved(space, "0.33.0")
    assert choices(newer, "async_scheduling") == ("default", False)
    assert "on by default from 0.14.0" in reason(newer, "async_scheduling", value=True)
    assert choices(resolved(space, "0.13.0"), "async_scheduling") == ("default", True)


def test_a_neutral_value_is_the_off_arm_where_the_setting_works() -> None:
    """No offload is a choice beside offload."""
    space = space_of(kv_offload_gib={"choices": [0, 8, 16]})
    assert choices(resolved(space, "0.33.0"), "kv_offload_gib") == (0, 8, 16)
    gone = resolved(space, "0.12.0")
    assert choices(gone, "kv_offload_gib") is None
    assert "num_cpu_blocks" in reason(gone, "kv_offload_gib")


def test_a_parameter_with_nothing_but_the_default_left_goes() -> None:
    """It would be a dimension of one point."""
    result = resolved(space_of(async_scheduling={"choices": ["default", True]}))
    assert choices(result, "async_scheduling") is None
    assert "on by default" in reason(result, "async_scheduling")


def test_a_single_value_that_is_no_default_stays() -> None:
    """A space may pin a setting."""
    result = resolved(space_of(max_model_len={"choices": [8192]}))
    assert choices(result, "max_model_len") == (8192,)


def test_a_value_that_the_release_does_not_list_goes() -> None:
    """By the table, and by the installed files."""
    space = space_of(kv_cache_dtype={"choices": ["default", "fp8", "int4_per_token_head"]})
    result = resolved(space, "0.20.2", machine((8, 9)))
    assert choices(result, "kv_cache_dtype") == ("default", "fp8")
    assert "no value of vLLM 0.20.2" in reason(result, "kv_cache_dtype", "int4_per_token_head")
    fork = declared("0.33.0")
    fork = Capabilities(engine="vllm", release="0.33.0", platform="cuda", flags=fork.flags,
                        choices={"kv_cache_dtype": ("auto",)})  # fmt: skip
    left = resolved(space_of(kv_cache_dtype={"choices": ["default", "fp8"]}), capabilities=fork)
    assert choices(left, "kv_cache_dtype") is None
    assert "installed files" in reason(left, "kv_cache_dtype")


def test_an_option_that_the_installation_lacks_takes_its_parameter_along() -> None:
    """A fork may have dropped what the release has."""
    whole = declared("0.33.0")
    fork = Capabilities(engine="vllm", release="0.33.0", platform="cuda",
                        flags=whole.flags - {"stream-interval"})  # fmt: skip
    result = resolved(space_of(stream_interval={"choices": [1, 4]}), capabilities=fork)
    assert "has no --stream-interval" in reason(result, "stream_interval")


def test_ranges_are_clipped_to_what_is_possible() -> None:
    """The share of the GPU ends at 1, the batch begins at 1, the rest of the range stays."""
    result = resolved(space_of(gpu_memory_utilization={"low": 0.9, "high": 1.1, "step": 0.05},
                               max_num_seqs={"low": 0, "high": 4}))  # fmt: skip
    share, seqs = (result.space.parameter(n) for n in ("gpu_memory_utilization", "max_num_seqs"))
    assert isinstance(share, Range)
    assert isinstance(seqs, Range)
    assert (share.low, share.high) == (0.9, 1.0)
    assert (seqs.low, seqs.high) == (1, 4)
    assert "cannot be over 1" in reason(result, "gpu_memory_utilization", "1.05 to 1.1")
    assert "cannot be under 1" in reason(result, "max_num_seqs", 0)


def test_offload_beyond_the_host_s_memory_goes() -> None:
    """94 GiB less 6 for the system and the engine leave 88."""
    space = space_of(kv_offload_gib={"low": 0, "high": 120, "step": 8})
    result = resolved(space)
    assert choices(result, "kv_offload_gib") == tuple(range(0, 96, 8))
    assert "94.0 GiB" in reason(result, "kv_offload_gib", "96 to 120")
    unknown = resolved(space, hardware=machine(host_gib=0))
    assert unknown.space == space


def test_offload_beyond_dev_shm_goes_for_a_process_from_0_27_0() -> None:
    """A container's /dev/shm is sized by autotune, an old release does not use it."""
    space = space_of(kv_offload_gib={"choices": [0, 8, 64]})
    small = machine(shm_gib=47)
    assert choices(resolved(space, "0.33.0", small), "kv_offload_gib") == (0, 8)
    assert choices(resolved(space, "0.26.0", small), "kv_offload_gib") == (0, 8, 64)
    image = declared("0.33.0")
    image = Capabilities(engine="vllm", release="0.33.0", platform="cuda", flags=image.flags,
                         image_digest="sha256:0")  # fmt: skip
    left = resolved(space, hardware=small, capabilities=image)
    assert choices(left, "kv_offload_gib") == (0, 8, 64)


def test_offload_goes_under_wsl() -> None:
    """There is no pinned memory."""
    space = space_of(kv_offload_gib={"choices": [0, 8]})
    result = resolved(space, hardware=machine(wsl=True))
    assert choices(result, "kv_offload_gib") is None
    assert "Windows Subsystem" in reason(result, "kv_offload_gib")


def test_a_length_over_the_model_s_own_goes() -> None:
    """Qwen2.5's config says 32768."""
    result = resolved(space_of(max_model_len={"choices": ["default", 32768, 65536]}))
    assert choices(result, "max_model_len") == ("default", 32768)
    assert "32768 tokens" in reason(result, "max_model_len", 65536)


def test_settings_that_cannot_meet_become_forbidden() -> None:
    """On Hopper FLEX_ATTENTION has no fp8 and works without."""
    space = space_of(attention_backend={"choices": ["default", "FLEX_ATTENTION"]},
                     kv_cache_dtype={"choices": ["default", "fp8"]})  # fmt: skip
    result = resolved(space, hardware=machine((9, 0)))
    allowed = {
        (k, d)
        for k in ("default", "FLEX_ATTENTION")
        for d in ("default", "fp8")
        if result.space.refusal(result.space.active({"attention_backend": k, "kv_cache_dtype": d}))
        is None
    }
    assert allowed == {("default", "default"), ("default", "fp8"), ("FLEX_ATTENTION", "default")}


def test_a_rule_that_the_space_states_already_is_held_once_with_its_reason() -> None:
    """A part of what a rule forbids, and the whole of it, by the user's own hand."""
    space = space_from(
        {
            "parameters": {"attention_backend": {"choices": ["default", "FLEX_ATTENTION"]},
                           "kv_cache_dtype": {"choices": ["default", "fp8"]}},
            "forbidden": [{"attention_backend": "FLEX_ATTENTION", "kv_cache_dtype": "fp8"}],
        },
        where="test",
    )  # fmt: skip
    (pattern,) = resolved(space, hardware=machine((9, 0))).space.forbidden
    assert pattern.reason == "FLEX_ATTENTION has no quantized KV cache"


def test_a_value_that_can_meet_nothing_goes_and_says_why_for_each() -> None:
    """FLASH_ATTN on an RTX 5070: refused with fp8, the engine's own pick without."""
    space = space_of(attention_backend={"choices": ["default", "FLASH_ATTN", "TRITON_ATTN"]},
                     kv_cache_dtype={"choices": ["default", "fp8"]})  # fmt: skip
    result = resolved(space)
    assert choices(result, "attention_backend") == ("default", "TRITON_ATTN")
    why = reason(result, "attention_backend", "FLASH_ATTN")
    assert "FlashAttention 3" in why
    assert "what `default` picks" in why


def test_a_named_default_stays_where_nothing_else_says_the_same() -> None:
    """A space without `default` needs the kernel's name."""
    space = space_of(attention_backend={"choices": ["FLASH_ATTN", "TRITON_ATTN"]})
    result = resolved(space)
    assert choices(result, "attention_backend") == ("FLASH_ATTN", "TRITON_ATTN")
    assert result.space.forbidden == ()


def test_a_rule_about_a_setting_outside_the_space_narrows_the_one_inside() -> None:
    """With the engine's own pick, 0.11.0 on Ampere cannot hold fp8 at all."""
    space = space_of(kv_cache_dtype={"choices": ["default", "fp8"]},
                     max_num_seqs={"choices": [16, 32]})  # fmt: skip
    result = resolved(space, "0.11.0", machine((8, 6)))
    assert choices(result, "kv_cache_dtype") is None
    assert "TRITON_ATTN by itself" in reason(result, "kv_cache_dtype")


def test_fragile_settings_stay_with_a_warning() -> None:
    """fp8 by FLASHINFER on compute capability 12.x may work, and is checked by its answers."""
    space = space_of(kv_cache_dtype={"choices": ["default", "fp8"]})
    result = resolved(space)
    assert choices(result, "kv_cache_dtype") == ("default", "fp8")
    (warning,) = result.warnings
    assert warning.startswith("kv_cache_dtype=fp8: FLASHINFER")


@pytest.mark.parametrize("release", ["0.11.2", "0.26.0", "0.33.0"])
def test_the_search_takes_the_safe_way_where_the_engines_own_pick_is_fragile(release: str) -> None:
    """On compute capability 12.x `default` with fp8 is FLASHINFER, as if it had been named."""
    space = space_of(
        kv_cache_dtype={"choices": ["default", "fp8"]},
        attention_backend={"choices": ["default", "FLASHINFER", "TRITON_ATTN"]},
    )
    result = resolved(space, release)
    allowed = {
        (backend, dtype)
        for backend in ("default", "FLASHINFER", "TRITON_ATTN")
        for dtype in ("default", "fp8")
        if result.space.refusal(
            result.space.active({"attention_backend": backend, "kv_cache_dtype": dtype})
        )
        is None
    }
    assert {backend for backend, dtype in allowed if dtype == "fp8"} == {"TRITON_ATTN"}
    assert {b for b, dtype in allowed if dtype == "default"} == {
        "default", "FLASHINFER", "TRITON_ATTN",
    }  # fmt: skip
    (warning,) = result.warnings
    assert warning.endswith("the search leaves this out")
    (pattern,) = result.space.forbidden
    assert "has given wrong text and crashes" in pattern.reason


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0)])
def test_the_default_kernel_holds_fp8_where_it_is_not_fragile(capability: tuple[int, int]) -> None:
    """Ada, Hopper and Blackwell servers."""
    space = space_of(
        kv_cache_dtype={"choices": ["default", "fp8"]},
        attention_backend={"choices": ["default", "TRITON_ATTN"]},
    )
    result = resolved(space, hardware=machine(capability))
    assert result.space.refusal(Configuration.of({"kv_cache_dtype": "fp8"})) is None
    assert result.warnings == ()


def test_a_fragile_setting_concerns_the_configurations_that_have_it() -> None:
    """Not set is the engine's own pick, which is meant as well where the rule names it."""
    space = space_of(
        kv_cache_dtype={"choices": ["default", "fp8"]},
        attention_backend={"choices": ["default", "FLASHINFER", "TRITON_ATTN"]},
    )
    (fragile,) = resolved(space).fragile
    fp8 = Configuration.of({"kv_cache_dtype": "fp8"})
    backends = ("FLASHINFER", "TRITON_ATTN")

    assert fragile.concerns(fp8)
    assert not fragile.concerns(Configuration())
    assert [fragile.concerns(fp8.updated({"attention_backend": b})) for b in backends] == [
        True,
        False,
    ]


def test_what_belongs_to_a_value_that_is_gone_goes_with_it() -> None:
    """A block size for XFORMERS has no use in a release without XFORMERS."""
    space = space_of(
        attention_backend={"choices": ["default", "XFORMERS", "TRITON_ATTN"]},
        block_size={"choices": [16, 32], "when": {"attention_backend": ["XFORMERS"]}},
    )
    result = resolved(space)
    assert choices(result, "block_size") is None
    assert "belongs to" in reason(result, "block_size")


def test_relations_of_the_engine_are_added_once() -> None:
    """A space that forgot one gets it; one that has it does not get it twice."""
    parameters = {"max_num_seqs": {"choices": [16, 4096]},
                  "max_num_batched_tokens": {"choices": [1024]}}  # fmt: skip
    wanted = AtLeast(larger="max_num_batched_tokens", smaller="max_num_seqs")
    assert resolved(space_of(**parameters)).space.relations == (wanted,)
    again = space_from({"parameters": parameters, "relations": [
        {"at_least": ["max_num_batched_tokens", "max_num_seqs"]}]}, where="test")  # fmt: skip
    assert resolved(again).space.relations == (wanted,)


def test_the_first_user_s_space_on_the_first_user_s_machine() -> None:
    """RTX 5070, 94 GB, 0.33.0 in Docker: everything that works there and nothing else."""
    space = space_from(read_yaml(ROOT / "search_spaces" / "rtx5070.yaml"), where="rtx5070.yaml")
    image = declared("0.33.0")
    image = Capabilities(engine="vllm", release="0.33.0", platform="cuda", flags=image.flags,
                         choices=image.choices, image_digest="sha256:0")  # fmt: skip
    result = resolved(space, hardware=machine(host_gib=87), capabilities=image)
    assert {p.name for p in result.space.parameters} == {
        "attention_backend", "kv_cache_dtype", "gpu_memory_utilization", "max_num_seqs",
        "max_num_batched_tokens", "max_model_len", "kv_offload_gib", "async_scheduling",
        "enable_prefix_caching", "block_size", "performance_mode",
    }  # fmt: skip
    assert choices(result, "kv_offload_gib") == ("default", *range(8, 88, 8))
    assert choices(result, "async_scheduling") == ("default", False)
    assert isinstance(result.space.parameter("kv_cache_dtype"), Choice)


def test_the_cpu_space_on_the_cpu() -> None:
    """The CPU platform turns asynchronous scheduling off whatever is asked."""
    space = space_of(
        max_num_seqs={"choices": [4, 16]},
        async_scheduling={"choices": ["default", False]},
        attention_backend={"choices": ["default", "FLASHINFER"]},
        kv_cache_dtype={"choices": ["default", "fp8"]},
        kv_offload_gib={"choices": [0, 1]},
        cpu_kv_cache_gib={"choices": [1, 2]},
    )
    result = resolved(space, "0.32.0+cpu", Hardware(host_memory_bytes=24 * BYTES_PER_GIB))
    assert {p.name for p in result.space.parameters} == {"max_num_seqs", "cpu_kv_cache_gib"}
    assert "always off on the CPU" in reason(result, "async_scheduling")
    assert "whatever is asked" in reason(result, "attention_backend")


@pytest.mark.parametrize("name", ["vllm", "rtx5070"])
@pytest.mark.parametrize("release", ["0.8.5", "0.10.0", "0.11.0", "0.14.1", "0.21.0", "0.33.0"])
def test_resolving_again_takes_nothing_more(name: str, release: str) -> None:
    """What is left is left for good."""
    space = space_from(read_yaml(ROOT / "search_spaces" / f"{name}.yaml"), where=name)
    once = resolved(space, release)
    twice = resolved(once.space, release)
    assert twice.removed == ()
    assert twice.space == once.space
