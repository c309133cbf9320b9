"""Study files."""

from pathlib import Path
from typing import Any

import pytest

from autotune.errors import SpecError
from autotune.spec.study import StudySpec, read_study, study_from


def error_of(**fields: Any) -> SpecError:
    """What reading such a file raises."""
    with pytest.raises(SpecError) as caught:
        study_from(fields, where="study.yaml")
    return caught.value


def test_an_empty_file_is_the_default_study(tmp_path: Path) -> None:
    """Every field has a default: three objectives, the six tests, memory that stays free."""
    file = tmp_path / "study.yaml"
    file.write_text("")
    spec = read_study(file)
    assert spec == StudySpec()
    assert [(o.metric, o.direction) for o in spec.objectives] == [
        ("output_tokens_per_s", "maximize"),
        ("ttft_8k_ns", "minimize"),
        ("context_capacity_tokens", "maximize"),
    ]
    assert len(spec.probes) == 6
    assert (spec.headroom.gpu_gib, spec.headroom.host_gib) == (1.0, 9.0)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"trails": 3}, "trails", "unknown key"),
        ({"budget": {"trails": 3}}, "budget -> trails", "unknown key"),
        ({"engine": {"nmae": "vllm"}}, "engine -> nmae", "unknown key"),
        ({"engine": {"name": "llama"}}, "engine -> name", "vllm"),
        ({"engine": {"deployer": "podman"}}, "engine -> deployer", "docker"),
        ({"engine": {"image": "-rm"}}, "engine -> image", "pattern"),
        ({"engine": {"command": []}}, "engine -> command", "at least 1"),
        ({"engine": {"env": {"HF_TOKEN": "x"}}}, "engine", "export HF_TOKEN"),
        ({"engine": {"env": {"VLLM_API_KEY": "x"}}}, "engine", "recorded and exported"),
        ({"engine": {"arguments": ["--api-key", "x"]}}, "engine", "--api-key"),
        ({"engine": {"arguments": ["--api-key=x"]}}, "engine", "--api-key"),
        ({"engine": {"mounts": [{"source": "a", "target": "b"}]}},
         "engine -> mounts -> 0 -> target", "pattern"),
        ({"name": "../up"}, "name", "pattern"),
        ({"name": ""}, "name", "pattern"),
        ({"model": "--trust-remote-code"}, "model", "pattern"),
        ({"model": ""}, "model", "pattern"),
        ({"objectives": []}, "objectives", "at least 1"),
        ({"objectives": ["speed"]}, "objectives -> 0 -> metric", "there is no metric 'speed'"),
        ({"objectives": ["itl_p50_ns", "itl_p50_ns"]}, "(whole file)", "name a metric twice"),
        ({"objectives": [{"metric": "itl_p50_ns", "direction": "down"}]},
         "objectives -> 0 -> direction", "minimize"),
        ({"limits": [{"metric": "speed", "at_most": 1}]}, "limits -> 0 -> metric", "no metric"),
        ({"limits": [{"metric": "itl_p50_ns"}]}, "limits -> 0", "exactly one of"),
        ({"limits": [{"metric": "itl_p50_ns", "at_most": 1, "at_most_s": 1}]},
         "limits -> 0", "exactly one of"),
        ({"limits": [{"metric": "itl_p50_ns", "at_most": float("nan")}]},
         "limits -> 0 -> at_most", "finite"),
        ({"probes": ["startup", "thruput"]}, "probes", "there is no probe 'thruput'"),
        ({"probes": ["startup", "startup"]}, "probes", "twice"),
        ({"probes": []}, "probes", "at least 1"),
        ({"budget": {"trials": 0}}, "budget -> trials", "greater"),
        ({"budget": {"timeout_s": -1}}, "budget -> timeout_s", "greater"),
        ({"headroom": {"gpu_gib": -1}}, "headroom -> gpu_gib", "greater"),
        ({"seed": -1}, "seed", "greater"),
        ({"seed": 2**32}, "seed", "less"),
        ({"port": 0}, "port", "greater"),
        ({"port": 65536}, "port", "less"),
        ({"baseline": {"kv_cache_dtype": None}}, "baseline -> kv_cache_dtype", "valid"),
        ({"workload": {"concurrency": 0}}, "workload -> concurrency", "greater"),
        ({"workload": {"arrival": "poisson"}}, "workload", "needs rate_requests_per_s"),
        ({"prefer": "cheap"}, "prefer", "balanced"),
    ],
)  # fmt: skip
def test_bad_input_names_the_field(fields: dict[str, Any], field: str, says: str) -> None:
    """Field, what is wrong with it, and a next step; never a traceback."""
    error = error_of(**fields)
    assert error.message.startswith(f"study.yaml: {field}")
    assert says in error.message
    assert error.hint


def test_a_secret_in_a_file_is_refused_without_being_said() -> None:
    """Neither message nor hint repeats it; a variable that only sounds like one is none."""
    error = error_of(engine={"env": {"MY_PASSWORD": "hunter2hunter2"}})
    assert "MY_PASSWORD" in error.message
    assert "hunter2" not in error.message + error.hint
    study_from({"engine": {"env": {"TOKENIZERS_PARALLELISM": "false"}}}, where="study.yaml")


def test_an_objective_by_its_tag_takes_the_declared_direction() -> None:
    """Throughput up, latency down; the file may still say otherwise."""
    spec = study_from(
        {
            "objectives": [
                "output_tokens_per_s",
                "itl_p50_ns",
                {"metric": "gpu_memory_peak_bytes", "direction": "maximize"},
            ]
        },
        where="study.yaml",
    )
    assert [o.direction for o in spec.objectives] == ["maximize", "minimize", "maximize"]


@pytest.mark.parametrize(
    ("bound", "upper"),
    [
        ({"at_most": 5}, 5.0),
        ({"at_most_s": 2}, 2e9),
        ({"at_most_gib": 11}, 11 * 2**30),
        ({"at_least": 5}, None),
    ],
)
def test_a_limit_in_units_for_people_is_raw_inside(
    bound: dict[str, float], upper: float | None
) -> None:
    """Seconds become nanoseconds and GiB bytes; a lower bound has no upper one."""
    spec = study_from({"limits": [{"metric": "startup_ns", **bound}]}, where="study.yaml")
    assert spec.limits[0].upper == upper


def test_a_study_survives_its_own_file_form() -> None:
    """What is written as resolved reads back equal."""
    spec = StudySpec(name="x", seeds=[{"block_size": 16}], workload={"requests": 8})
    assert study_from(spec.model_dump(mode="json"), where="study.yaml") == spec
