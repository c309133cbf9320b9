"""The studies, matrix and search spaces that come with the program say what the plan says."""

from pathlib import Path

import pytest

from autotune.records import Configuration
from autotune.spec.files import read_yaml
from autotune.spec.matrix import read_matrix
from autotune.spec.space import SearchSpace, space_from
from autotune.spec.study import read_study

ROOT = Path(__file__).resolve().parents[3]
STUDIES = sorted(p for p in (ROOT / "studies").glob("*.yaml") if p.stem != "matrix")
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def declared_space(name: str) -> SearchSpace:
    """A shipped space."""
    return space_from(read_yaml(ROOT / "search_spaces" / f"{name}.yaml"), where=name)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_a_shipped_study_is_sound(path: Path) -> None:
    """It reads, is named like its file, and its space is there."""
    spec = read_study(path)
    assert spec.name == path.stem
    assert spec.description
    assert isinstance(spec.space, str)
    assert declared_space(spec.space).parameters


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_a_shipped_space_is_sound(path: Path) -> None:
    """It reads, is named like its file, and has more than one configuration."""
    space = declared_space(path.stem)
    assert space.name == path.stem
    assert max(len(p.grid()) for p in space.parameters) > 1


def test_there_is_something_to_check() -> None:
    """The folders are where these tests look."""
    assert {"default", "rtx5070"} <= {p.stem for p in STUDIES}
    assert {"vllm", "rtx5070", "cpu"} <= {p.stem for p in SPACES}


@pytest.mark.parametrize("name", ["vllm", "rtx5070"])
def test_the_parameters_of_the_plan_are_searched(name: str) -> None:
    """Backend, scheduler steps, async scheduling, KV dtype with fp8, offload 0 to 80, memory."""
    space = declared_space(name)
    offload = space.parameter("kv_offload_gib")
    dtype = space.parameter("kv_cache_dtype")
    assert offload is not None
    assert dtype is not None
    assert {"default", 32, 64, 80} <= set(offload.grid())  # the default is none
    assert dtype.contains("fp8")
    for wanted in ("attention_backend", "scheduler_steps", "async_scheduling",
                   "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens",
                   "max_model_len", "block_size", "enable_prefix_caching",
                   "performance_mode"):  # fmt: skip
        assert space.parameter(wanted) is not None, wanted


def test_the_matrix_is_the_plans() -> None:
    """Baseline and A to F set what the plan says, and MAX is all of them with 64 GiB."""
    matrix = read_matrix(ROOT / "studies" / "matrix.yaml")
    cells = {n: Configuration.of(c.configuration) for n, c in matrix.configurations.items()}
    assert cells == {
        "baseline": Configuration.of({"attention_backend": "FLASH_ATTN"}),
        "A": Configuration.of({"v1_engine": True, "async_scheduling": True}),
        "B": Configuration.of({"scheduler_steps": 10}),
        "C": Configuration.of({"attention_backend": "FLASHINFER"}),
        "D": Configuration.of({"kv_offload_gib": 32}),
        "E": Configuration.of({"kv_offload_gib": 64}),
        "F": Configuration.of({"kv_cache_dtype": "fp8"}),
        "MAX": Configuration.of(
            {
                "v1_engine": True,
                "attention_backend": "FLASHINFER",
                "async_scheduling": True,
                "scheduler_steps": 10,
                "kv_offload_gib": 64,
                "kv_cache_dtype": "fp8",
            }
        ),
    }
    assert [name for name, cell in matrix.configurations.items() if cell.reference] == ["baseline"]


def test_the_first_users_study_is_the_plans() -> None:
    """Its model, Docker, the limits of 12 GB and 94 GB as headroom, 1.5 times the throughput."""
    spec = read_study(ROOT / "studies" / "rtx5070.yaml")
    assert spec.model == "Qwen/Qwen2.5-7B-Instruct-AWQ"
    assert spec.engine.deployer == "docker"
    assert (spec.headroom.gpu_gib, spec.headroom.host_gib) == (1.0, 9.0)
    assert spec.throughput_gain == 1.5
