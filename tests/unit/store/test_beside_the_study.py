"""What lies beside `study.yaml`: the user's preference, and what became of the declared space."""

import os
from pathlib import Path

import pytest

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import Configuration
from autotune.seams.engine import Fragile, Removal, ResolvedSpace
from autotune.spec.space import Condition, SearchSpace
from autotune.store import (
    Resolution,
    forget_preference,
    read_preference,
    read_resolution,
    write_preference,
    write_resolution,
)

FRAGILE = Fragile(
    name="flashinfer-fp8",
    settings=(
        Condition(parameter="attention_backend", values=("default", "FLASHINFER")),
        Condition(parameter="kv_cache_dtype", values=("fp8",)),
    ),
    reason="seen to crash",
)
SPACE = ResolvedSpace(
    space=SearchSpace(name="s", parameters=()),
    removed=(Removal(parameter="max_num_seqs", value=512, reason="too many"),),
    fragile=(FRAGILE,),
)


def test_a_preference_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    """A study without one has its own."""
    paths = StudyPaths(tmp_path / "s")
    assert read_preference(paths) is None

    write_preference(paths, "latency")
    assert read_preference(paths) == "latency"

    forget_preference(paths)
    assert read_preference(paths) is None
    forget_preference(paths)


def test_a_preference_that_is_none_is_named(tmp_path: Path) -> None:
    """The message has what the file holds, the hint the command that writes it."""
    paths = StudyPaths(tmp_path)
    paths.preference.write_text("cheapest\n")
    with pytest.raises(StoreError, match="'cheapest', which is none of balanced") as caught:
        read_preference(paths)
    assert "autotune recommend" in caught.value.hint


def test_what_became_of_the_space_is_read_back(tmp_path: Path) -> None:
    """Removals, what is fragile, and notes on the engine."""
    paths = StudyPaths(tmp_path / "s")
    write_resolution(paths, SPACE, ("newer than the table",))
    found = read_resolution(paths)
    assert found.removed == SPACE.removed
    assert found.fragile == (FRAGILE,)
    assert found.warnings == (
        "newer than the table",
        "attention_backend=default|FLASHINFER with kv_cache_dtype=fp8: seen to crash",
    )


def test_a_configuration_gets_the_warnings_that_concern_it(tmp_path: Path) -> None:
    """Another backend with fp8 is not meant."""
    write_resolution(StudyPaths(tmp_path), SPACE)
    found = read_resolution(StudyPaths(tmp_path))
    fp8 = Configuration.of({"kv_cache_dtype": "fp8"})
    assert found.concerning(fp8) == (str(FRAGILE),)
    assert found.concerning(fp8.updated({"attention_backend": "TRITON_ATTN"})) == ()


def test_a_study_of_before_has_no_warnings(tmp_path: Path) -> None:
    """Nothing was written down then."""
    assert read_resolution(StudyPaths(tmp_path)) == Resolution()


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    """What it held is not known, which is something else than nothing."""
    StudyPaths(tmp_path).resolution.write_text("{")
    found = read_resolution(StudyPaths(tmp_path))
    assert (found.removed, found.fragile) == ((), ())
    assert "resolved.json is damaged" in found.warnings[0]


def test_a_pipe_in_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write into it."""
    paths = StudyPaths(tmp_path)
    os.mkfifo(paths.resolution)
    os.mkfifo(paths.preference)
    assert "resolved.json is damaged" in read_resolution(paths).warnings[0]
    with pytest.raises(StoreError, match="it is no file"):
        read_preference(paths)
