"""The study as resolved, and conflicts of name."""

from pathlib import Path

import pytest

from autotune.errors import StudyConflictError
from autotune.paths import StudyPaths
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.store import ensure_same_study, read_stored_study, write_study

_RAW_SPACE = {
    "name": "tiny",
    "parameters": {
        "kv_cache_dtype": {"choices": ["default", "fp8"]},
        "gpu_memory_utilization": {"low": 0.8, "high": 0.9, "step": 0.02},
        "max_num_seqs": {"low": 16, "high": 256, "log": True, "type": "int"},
        "block_size": {"choices": [16, 32], "when": {"kv_cache_dtype": ["fp8"]}},
    },
    "relations": [{"at_least": ["max_num_seqs", "block_size"]}],
}
SPACE = space_from(_RAW_SPACE, where="tiny")
SPEC = study_from({"name": "s", "model": "m/one", "baseline": {"a": True}}, where="s")


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    """A study folder that holds the study as resolved."""
    paths = StudyPaths(tmp_path / "s")
    write_study(paths, SPEC, SPACE)
    return paths


def test_it_reads_back_with_its_space(paths: StudyPaths) -> None:
    """study.yaml is itself a study file, its space written out."""
    spec, space = read_stored_study(paths)
    assert space == SPACE
    assert spec.model_copy(update={"space": SPEC.space}) == SPEC


def test_the_same_study_goes_on(paths: StudyPaths) -> None:
    """No difference, no conflict; and no file, no conflict."""
    ensure_same_study(paths, SPEC, SPACE)
    ensure_same_study(StudyPaths(paths.root.parent / "new"), SPEC, SPACE)


def test_budget_and_preference_may_change(paths: StudyPaths) -> None:
    """What does not touch the measurements may differ when a study goes on."""
    changed = study_from(
        {"name": "s", "model": "m/one", "baseline": {"a": True}, "prefer": "latency",
         "budget": {"trials": 99}}, where="s",
    )  # fmt: skip
    ensure_same_study(paths, changed, SPACE)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": "m/two"}, "another model: 'm/one' there, 'm/two' here"),
        ({"objectives": ["output_tokens_per_s"]}, "another objectives"),
        ({"workload": {"concurrency": 7}}, "another workload -> concurrency: 100 there, 7 here"),
        ({"baseline": {"a": 1}}, "another baseline -> a: True there, 1 here"),
        ({"limits": [{"metric": "ttft_8k_ns", "at_most_s": 3}]}, "another limits"),
    ],
)
def test_another_study_is_a_conflict(
    paths: StudyPaths, change: dict[str, object], field: str
) -> None:
    """The first difference is named with both values."""
    other = study_from(
        {"name": "s", "model": "m/one", "baseline": {"a": True}, **change}, where="s"
    )
    with pytest.raises(StudyConflictError, match=field) as caught:
        ensure_same_study(paths, other, SPACE)
    assert "--name" in caught.value.hint


def test_another_space_is_a_conflict(paths: StudyPaths) -> None:
    """A parameter with another range is named down to the bound."""
    raw = {**_RAW_SPACE, "parameters": {**_RAW_SPACE["parameters"],
           "gpu_memory_utilization": {"low": 0.8, "high": 0.96, "step": 0.02}}}  # fmt: skip
    with pytest.raises(StudyConflictError, match=r"gpu_memory_utilization -> high: 0\.9 there"):
        ensure_same_study(paths, SPEC, space_from(raw, where="t"))


def test_a_study_of_before_goes_on_where_its_space_forbids_the_same(paths: StudyPaths) -> None:
    """Stored twice and without a reason then, once and with one now."""
    parameters = {"a": {"choices": ["default", 1, 2]}, "b": {"choices": ["default", "x"]}}
    once = {"a": ["default", 1], "b": ["x"]}
    before = {"parameters": parameters, "forbidden": [{"a": [1], "b": ["x"]}, once]}
    now = {"parameters": parameters, "forbidden": [{**once, "because": "it crashes"}]}
    write_study(paths, SPEC, space_from(before, where="test"))
    ensure_same_study(paths, SPEC, space_from(now, where="test"))
