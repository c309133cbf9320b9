"""Study files."""

from pathlib import Path
from typing import Any

import pytest

from autotune.errors import SpecError
from autotune.spec.study import StudySpec, read_study, require_measured, study_from


def error_of(**fields: Any) -> SpecError:
    """What reading such a file raises."""
    with pytest.raises(SpecError) as caught:
        study_from(fields, where="study.yaml")
    return caught.value


def test_an_empty_file_is_the_default_study(tmp_path: Path) -> None:
    """Every field has a default: objectives, six tests and the gate, memory that stays free."""
    file = tmp_path / "study.yaml"
    file.write_text("")
    spec = read_study(file)
    assert spec == StudySpec()
    assert [(o.metric, o.direction) for o in spec.objectives] == [
        ("output_tokens_per_s", "maximize"),
        ("ttft_8k_ns", "minimize"),
        ("context_capacity_tokens", "maximize"),
    ]
    assert len(set(spec.probes) - {"correctness"}) == 6
    assert "correctness" in spec.probes
    assert (spec.headroom.gpu_gib, spec.headroom.host_gib) == (1.0, 9.0)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"trails": 3}, "trails", "unknown key"),
        ({"budget": {"trails": 3}}, "budget -> trails", "unknown key"),
        ({"engine": {"nmae": "vllm"}}, "engine -> nmae", "unknown key"),
        ({"engine": {"name": "llama"}}, "engine -> name", "vllm"),
        ({"engine": {"deployer": "podman"}}, "engine -> deployer", "docker"),
        ({"engine": {"image": "-rm"}}, "engine -> image", "an image's name"),
        ({"engine": {"command": []}}, "engine -> command", "at least 1"),
        ({"engine": {"env": {"HF_TOKEN": "x"}}}, "engine", "export HF_TOKEN"),
        ({"engine": {"env": {"VLLM_API_KEY": "x"}}}, "engine", "recorded and exported"),
        ({"engine": {"arguments": ["--api-key", "x"]}}, "engine", "--api-key"),
        ({"engine": {"arguments": ["--api-key=x"]}}, "engine", "--api-key"),
        ({"engine": {"mounts": [{"source": "a", "target": "b"}]}},
         "engine -> mounts -> 0 -> target", "an absolute path"),
        ({"name": "../up"}, "name", "letters, digits, dots"),
        ({"name": ""}, "name", "letters, digits, dots"),
        ({"model": "--trust-remote-code"}, "model", "a hub id or a folder"),
        ({"model": ""}, "model", "a hub id or a folder"),
        ({"model": "a\x1b[2J"}, "model", "no control character"),
        ({"model": "a\x9b2J"}, "model", "no control character"),
        ({"model": "a\nb"}, "model", "no control character"),
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
        ({"limits": [{"metric": "itl_p50_n", "at_most_s": 1}]}, "limits -> 0 -> metric",
         "did you mean itl_p50_ns?"),
        ({"probes": ["startup", "thruput"]}, "probes", "there is no probe 'thruput'"),
        ({"probes": ["startup", "thruput"]}, "probes", "did you mean throughput?"),
        ({"probes": ["startup", "startup"]}, "probes", "twice"),
        ({"probes": []}, "probes", "at least 1"),
        ({"budget": {"trials": 0}}, "budget -> trials", "greater"),
        ({"budget": {"timeout_s": -1}}, "budget -> timeout_s", "greater"),
        ({"headroom": {"gpu_gib": -1}}, "headroom -> gpu_gib", "greater"),
        ({"seed": -1}, "seed", "greater"),
        ({"seed": 2**32}, "seed", "less"),
        ({"port": 0}, "port", "greater"),
        ({"port": 65536}, "port", "less"),
        ({"baseline": {"kv_cache_dtype": None}}, "baseline -> kv_cache_dtype", "found nothing"),
        ({"workload": {"concurrency": 0}}, "workload -> concurrency", "greater"),
        ({"workload": {"arrival": "poisson"}}, "workload", "needs rate_requests_per_s"),
        ({"prefer": "cheap"}, "prefer", "balanced"),
        ({"headroom": {"host_gib": 1e300}}, "headroom -> host_gib", "less than or equal"),
        ({"headroom": {"gpu_gib": 1e300}}, "headroom -> gpu_gib", "less than or equal"),
        ({"engine": {"host_memory_gib": 1e300}}, "engine -> host_memory_gib", "less than"),
        ({"budget": {"timeout_s": 1e300}}, "budget -> timeout_s", "less than or equal"),
        ({"workload": {"prompt_tokens": 10**30}}, "workload -> prompt_tokens", "less than"),
    ],
)  # fmt: skip
def test_bad_input_names_the_field(fields: dict[str, Any], field: str, says: str) -> None:
    """Field, what is wrong with it, and a next step; never a traceback."""
    error = error_of(**fields)
    assert error.message.startswith(f"study.yaml: {field}")
    assert says in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"metric": "ttft_8k_ns", "at_most_s": -1}, "negative"),
        ({"metric": "output_tokens_per_s", "at_least": -1}, "negative"),
        ({"metric": "ttft_8k_ns", "at_most": 2}, "at_most_s takes seconds"),
        ({"metric": "ttft_8k_ns", "at_most_s": 2_000_000_000}, "at_most_s takes seconds"),
        ({"metric": "gpu_memory_peak_bytes", "at_most": 11}, "at_most_gib takes GiB"),
        ({"metric": "gpu_memory_peak_bytes", "at_most_gib": 11 * 2**30}, "more than any machine"),
        ({"metric": "gpu_memory_peak_bytes", "at_most_s": 2}, "is in bytes"),
        ({"metric": "ttft_8k_ns", "at_most_gib": 2}, "is in ns"),
        ({"metric": "prefix_hit_ratio", "at_least": 90}, "a share"),
        ({"metric": "output_tokens_per_s", "at_most": 0}, "nothing keeps 0"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(limit: dict[str, Any], says: str) -> None:
    """Negative, in another unit by its size, or kept by nothing; the unit for people is named."""
    error = error_of(limits=[limit])
    assert error.message.startswith("study.yaml: limits -> 0: ")
    assert says in error.message


def test_limits_that_contradict_each_other_are_refused() -> None:
    """Whatever a trial gives, it would miss one."""
    error = error_of(
        limits=[
            {"metric": "output_tokens_per_s", "at_least": 900},
            {"metric": "output_tokens_per_s", "at_most": 800},
        ]
    )
    assert "contradict" in error.message


@pytest.mark.parametrize(
    ("fields", "field", "add"),
    [
        ({"objectives": ["capacity_requests_per_s"]}, "objectives -> 0", "the probe 'capacity'"),
        ({"limits": [{"metric": "capacity_requests_per_s", "at_least": 1}]},
         "limits -> 0", "the probe 'capacity'"),
        ({"probes": ["startup", "ttft"]}, "objectives -> 0", "the probe 'throughput'"),
        ({"workload": {"long_context_tokens": [1024]}},
         "objectives -> 1", "8192 to workload.long_context_tokens"),
    ],
)  # fmt: skip
def test_what_no_probe_of_the_study_measures_is_refused_with_what_to_add(
    fields: dict[str, Any], field: str, add: str
) -> None:
    """Else every trial would be measured in vain, for its objective is never known."""
    spec = study_from(fields, where="study.yaml")
    with pytest.raises(SpecError) as caught:
        require_measured(spec, where="study.yaml")
    assert caught.value.message.startswith(f"study.yaml: {field}: nothing in this study measures")
    assert add in caught.value.hint


def test_the_default_study_measures_what_it_wants() -> None:
    """All three objectives."""
    require_measured(StudySpec(), where="study.yaml")


def test_default_in_a_fixed_configuration_is_the_same_as_nothing() -> None:
    """As it is in a space."""
    spec = study_from(
        {"baseline": {"block_size": "default"}, "seeds": [{"block_size": 16, "x": "default"}]},
        where="study.yaml",
    )
    assert spec.baseline == {}
    assert spec.seeds == [{"block_size": 16}]


def test_what_came_from_the_command_line_is_blamed_on_its_option() -> None:
    """The file is not at fault, and the value is shown."""
    with pytest.raises(SpecError) as caught:
        study_from({"name": "a b"}, where="default.yaml", options={"name": "--name"})
    assert caught.value.message.startswith("--name 'a b': it must be 1 to 64 letters")
    assert "default.yaml" not in caught.value.message


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
    ("metric", "bound", "upper"),
    [
        ("startup_ns", {"at_most": 5e9}, 5e9),
        ("startup_ns", {"at_most_s": 2}, 2e9),
        ("gpu_memory_peak_bytes", {"at_most_gib": 11}, 11 * 2**30),
        ("output_tokens_per_s", {"at_least": 5}, None),
    ],
)
def test_a_limit_in_units_for_people_is_raw_inside(
    metric: str, bound: dict[str, float], upper: float | None
) -> None:
    """Seconds become nanoseconds and GiB bytes; a lower bound has no upper one."""
    spec = study_from({"limits": [{"metric": metric, **bound}]}, where="study.yaml")
    assert spec.limits[0].upper == upper


def test_a_study_survives_its_own_file_form() -> None:
    """What is written as resolved reads back equal."""
    spec = StudySpec(name="x", seeds=[{"block_size": 16}], workload={"requests": 8})
    assert study_from(spec.model_dump(mode="json", by_alias=True), where="study.yaml") == spec


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"seed": True}, "seed"),
        ({"budget": {"trials": True}}, "budget -> trials"),
        ({"budget": {"timeout_s": False}}, "budget -> timeout_s"),
        ({"headroom": {"gpu_gib": False}}, "headroom -> gpu_gib"),
        ({"limits": [{"metric": "ttft_8k_ns", "at_most_s": True}]}, "limits -> 0 -> at_most_s"),
    ],
)
def test_yes_is_no_number(fields: dict[str, Any], where: str) -> None:
    """YAML reads `yes` and `on` as true, and Python counts true as 1: a study of one trial."""
    assert f"study.yaml: {where}: it must be a number; found " in error_of(**fields).message


def test_true_stays_a_setting() -> None:
    """Where yes and no are meant, they are taken."""
    spec = study_from({"baseline": {"enforce_eager": True}, "engine": {"gpus": False}}, where="f")
    assert spec.baseline == {"enforce_eager": True}
    assert spec.engine.gpus is False


def test_what_is_taken_from_earlier_studies_is_in_the_file_too() -> None:
    """`from`, `fresh` and `hints`; to take from one and from none is a contradiction."""
    spec = study_from({"from": "old", "hints": [{"block_size": "default"}]}, where="f")
    assert (spec.source, spec.fresh, spec.hints) == ("old", False, [{}])
    assert study_from({"fresh": True}, where="f").fresh
    assert "`fresh: true`" in error_of(fresh=True, **{"from": "old"}).message


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"space": ["a", "b"]}, "space: it must be a text or a mapping; found a list"),
        ({"baseline": {"x": []}}, "x: it must be a text, a number, true or false; found a list"),
    ],
)
def test_a_wrong_kind_is_told_what_would_do(fields: dict[str, Any], wanted: str) -> None:
    """All that the field takes, in YAML's words."""
    assert wanted in error_of(**fields).message
