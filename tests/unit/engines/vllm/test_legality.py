"""Fixed configurations held against an engine: settling, and refusing before the start."""

from pathlib import Path

import pytest

from autotune.engines.vllm.capabilities import declared
from autotune.engines.vllm.legality import refusal, settle
from autotune.records import Configuration, FailureKind, Scalar
from autotune.seams.engine import Capabilities, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.matrix import read_matrix
from autotune.units import BYTES_PER_GIB

MATRIX = read_matrix(Path(__file__).parents[4] / "studies" / "matrix.yaml")
RTX_5070 = Hardware(
    gpus=(Gpu(index=0, name="gpu", memory_bytes=12 * BYTES_PER_GIB, compute_capability=(12, 0)),),
    host_memory_bytes=94 * BYTES_PER_GIB,
)

# Cell by cell: what is set, what is the default anyway, what is lacking. From the history of the
# settings in vLLM's release notes and source, written down by hand.
SETTLED = {
    "0.10.0": {
        "baseline": ({"attention_backend"}, set(), set()),
        "A": ({"async_scheduling"}, {"v1_engine"}, set()),
        "B": ({"scheduler_steps"}, set(), set()),
        "C": ({"attention_backend"}, set(), set()),
        "D": (set(), set(), {"kv_offload_gib"}),
        "E": (set(), set(), {"kv_offload_gib"}),
        "F": (set(), set(), {"kv_cache_dtype"}),
        "MAX": (
            {"attention_backend", "async_scheduling"},
            {"v1_engine"},
            {"scheduler_steps", "kv_offload_gib", "kv_cache_dtype"},
        ),
    },
    "0.11.0": {
        "baseline": ({"attention_backend"}, set(), set()),
        "A": (set(), {"v1_engine"}, {"async_scheduling"}),
        "B": (set(), set(), {"scheduler_steps"}),
        "C": ({"attention_backend"}, set(), set()),
        "D": (set(), set(), {"kv_offload_gib"}),
        "E": (set(), set(), {"kv_offload_gib"}),
        "F": ({"kv_cache_dtype"}, set(), set()),
        "MAX": (
            {"attention_backend", "kv_cache_dtype"},
            {"v1_engine"},
            {"async_scheduling", "scheduler_steps", "kv_offload_gib"},
        ),
    },
    "0.13.0": {
        "baseline": ({"attention_backend"}, set(), set()),
        "A": ({"async_scheduling"}, {"v1_engine"}, set()),
        "B": (set(), set(), {"scheduler_steps"}),
        "C": ({"attention_backend"}, set(), set()),
        "D": (set(), set(), {"kv_offload_gib"}),
        "E": (set(), set(), {"kv_offload_gib"}),
        "F": ({"kv_cache_dtype"}, set(), set()),
        "MAX": (
            {"attention_backend", "kv_cache_dtype", "async_scheduling"},
            {"v1_engine"},
            {"scheduler_steps", "kv_offload_gib"},
        ),
    },
    "0.33.0": {
        "baseline": ({"attention_backend"}, set(), set()),
        "A": (set(), {"v1_engine", "async_scheduling"}, set()),
        "B": (set(), set(), {"scheduler_steps"}),
        "C": ({"attention_backend"}, set(), set()),
        "D": ({"kv_offload_gib"}, set(), set()),
        "E": ({"kv_offload_gib"}, set(), set()),
        "F": ({"kv_cache_dtype"}, set(), set()),
        "MAX": (
            {"attention_backend", "kv_cache_dtype", "kv_offload_gib"},
            {"v1_engine", "async_scheduling"},
            {"scheduler_steps"},
        ),
    },
}
SETTLED["0.14.1"] = SETTLED["0.33.0"]


@pytest.mark.parametrize("release", sorted(SETTLED))
def test_the_matrix_is_settled_cell_by_cell(release: str) -> None:
    """What a release can be told, what it does anyway, and what it lacks."""
    assert set(SETTLED[release]) == set(MATRIX.configurations)
    for name, (kept, default, lacking) in SETTLED[release].items():
        asked = Configuration.of(MATRIX.configurations[name].configuration)
        settled = settle(asked, declared(release), RTX_5070)
        assert set(settled.configuration.values) == kept, name
        assert set(settled.redundant) == default, name
        assert {r.parameter for r in settled.left_out} == lacking, name
        assert all(settled.redundant.values())
        assert all(r.reason and r.value is not None for r in settled.left_out)


def settled_values(
    values: dict[str, Scalar], release: str, hardware: Hardware
) -> dict[str, Scalar]:
    """What can be set of a configuration."""
    return settle(Configuration.of(values), declared(release), hardware).configuration.values


def test_settings_that_cannot_meet_lose_the_one_that_gives_way() -> None:
    """FLASH_ATTN with fp8 on sm_120: the kernel was asked for by name, the KV type goes."""
    values: dict[str, Scalar] = {"attention_backend": "FLASH_ATTN", "kv_cache_dtype": "fp8"}
    settled = settle(Configuration.of(values), declared("0.33.0"), RTX_5070)
    assert settled.configuration.values == {"attention_backend": "FLASH_ATTN"}
    (left_out,) = settled.left_out
    assert (left_out.parameter, left_out.value) == ("kv_cache_dtype", "fp8")


def test_a_mode_that_only_moves_defaults_is_redundant_beside_both_limits() -> None:
    """The mode throughput doubles what is set explicitly here."""
    values: dict[str, Scalar] = {"performance_mode": "throughput", "max_num_seqs": 64,
                                 "max_num_batched_tokens": 4096}  # fmt: skip
    settled = settle(Configuration.of(values), declared("0.33.0"), RTX_5070)
    assert "doubles" in settled.redundant["performance_mode"]
    less: dict[str, Scalar] = {"performance_mode": "throughput", "max_num_seqs": 64}
    assert settled_values(less, "0.33.0", RTX_5070) == less


def test_offload_that_the_host_cannot_hold_is_lacking() -> None:
    """64 GiB of a machine with 32."""
    small = Hardware(gpus=RTX_5070.gpus, host_memory_bytes=32 * BYTES_PER_GIB)
    settled = settle(Configuration.of({"kv_offload_gib": 64}), declared("0.33.0"), small)
    assert "32.0 GiB" in settled.left_out[0].reason


def refused(
    values: dict[str, Scalar],
    release: str = "0.33.0",
    capabilities: Capabilities | None = None,
    model: ModelFacts | None = None,
) -> FailureKind | None:
    """The kind of refusal on an RTX 5070."""
    failure = refusal(Configuration.of(values), capabilities or declared(release), RTX_5070, model)
    assert failure is None or (failure.phase == "screening" and failure.message)
    return None if failure is None else failure.kind


ILLEGAL: list[tuple[dict[str, Scalar], str]] = [
    ({"scheduler_steps": 10}, "0.33.0"),
    ({"v1_engine": False}, "0.11.1"),
    ({"kv_offload_gib": 8}, "0.13.0"),
    ({"kv_cache_dtype": "fp16"}, "0.33.0"),
    ({"gpu_memory_utilization": 1.2}, "0.33.0"),
    ({"max_num_seqs": 0}, "0.33.0"),
    ({"max_num_seqs": 16.5}, "0.33.0"),
    ({"async_scheduling": "yes"}, "0.33.0"),
    ({"async_scheduling": True}, "0.11.0"),
    ({"no_such_parameter": 1}, "0.33.0"),
    ({"max_num_seqs": 256, "max_num_batched_tokens": 128}, "0.33.0"),
    ({"chunked_prefill": False, "max_num_batched_tokens": 2048, "max_model_len": 4096}, "0.33.0"),
]


@pytest.mark.parametrize(("values", "release"), ILLEGAL)
def test_what_no_start_could_make_right_is_illegal(values: dict[str, Scalar], release: str) -> None:
    """A setting, a value or a relation that this engine refuses."""
    assert refused(values, release) is FailureKind.ILLEGAL


COMBINED: list[tuple[dict[str, Scalar], str]] = [
    ({"attention_backend": "FLASH_ATTN", "kv_cache_dtype": "fp8"}, "0.33.0"),
    ({"attention_backend": "FLEX_ATTENTION", "kv_cache_dtype": "fp8"}, "0.20.2"),
    ({"scheduler_steps": 8, "async_scheduling": True}, "0.10.0"),
    ({"enforce_eager": True, "cudagraph_mode": "FULL"}, "0.33.0"),
    ({"kv_cache_memory_gib": 2.0, "gpu_memory_utilization": 0.5}, "0.33.0"),
    ({"attention_backend": "TRITON_ATTN", "scheduler_steps": 4}, "0.9.2"),
]


@pytest.mark.parametrize(("values", "release"), COMBINED)
def test_settings_that_do_not_go_together_here_are_an_unsupported_combination(
    values: dict[str, Scalar], release: str
) -> None:
    """Each alone would be fine."""
    assert refused(values, release) is FailureKind.UNSUPPORTED_COMBINATION
    for name, value in values.items():
        assert refused({name: value}, release) is None


ALLOWED: list[tuple[dict[str, Scalar], str]] = [
    ({}, "0.33.0"),
    ({"scheduler_steps": 1, "kv_offload_gib": 0, "v1_engine": True}, "0.33.0"),
    ({"scheduler_steps": 10}, "0.8.5"),
    ({"attention_backend": "FLASH_ATTN"}, "0.33.0"),
    ({"attention_backend": "TRITON_ATTN", "kv_cache_dtype": "fp8"}, "0.33.0"),
    ({"attention_backend": "FLASHINFER", "kv_cache_dtype": "fp8"}, "0.33.0"),
    ({"performance_mode": "throughput", "max_num_seqs": 64, "max_num_batched_tokens": 4096},
     "0.33.0"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "release"), ALLOWED)
def test_what_may_work_is_let_through(values: dict[str, Scalar], release: str) -> None:
    """Neutral, redundant and fragile settings are no reason to refuse a start."""
    assert refused(values, release) is None


def test_the_model_s_own_length_is_a_bound_where_the_model_is_known() -> None:
    """The engine refuses a longer one."""
    model = ModelFacts(name="m", config={"max_position_embeddings": 4096})
    assert refused({"max_model_len": 8192}) is None
    assert refused({"max_model_len": 8192}, model=model) is FailureKind.ILLEGAL


def test_mla_models_choose_their_own_kernel() -> None:
    """DeepSeek's attention has kernels of its own names."""
    model = ModelFacts(name="m", config={"kv_lora_rank": 512})
    assert refused({"attention_backend": "FLASHINFER"}, model=model) is FailureKind.ILLEGAL


@pytest.mark.parametrize("length", [("--max-model-len", "8192"), ("--max_model_len=8K",)])
def test_relations_hold_with_what_every_start_is_told(length: tuple[str, ...]) -> None:
    """Arguments of the study count where the configuration does not say otherwise."""
    at = declared("0.33.0")
    values: dict[str, Scalar] = {"chunked_prefill": False, "max_num_batched_tokens": 512}

    def why(more: dict[str, Scalar], arguments: tuple[str, ...]) -> str:
        configuration = Configuration.of({**values, **more})
        found = refusal(configuration, at, RTX_5070, arguments=arguments)
        return "" if found is None else found.message

    assert "a step must hold the longest prompt" in why({}, length)
    assert why({}, ()) == ""
    assert why({"max_model_len": 512}, length) == ""
    assert "must be greater than or equal to max_num_seqs" in why({}, ("--max-num-seqs", "1024"))
