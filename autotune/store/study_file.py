"""`study.yaml`: the study as resolved, itself a study file that can be run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import yaml

from autotune.errors import StudyConflictError
from autotune.paths import StudyPaths
from autotune.spec.forbidden import bare
from autotune.spec.space import SearchSpace, space_from, space_to_raw
from autotune.spec.study import StudySpec, read_study
from autotune.store.files import write_atomically

FREE_FIELDS: Final = frozenset(
    {
        "name",
        "description",
        "seeds",
        "hints",
        "from",
        "fresh",
        "throughput_gain",
        "prefer",
        "budget",
        "search",
        "bind_host",
        "port",
    }
)
"""Fields that may change when a study goes on: they do not touch what was measured."""


def write_study(paths: StudyPaths, spec: StudySpec, space: SearchSpace) -> None:
    """Write the study with the space that is left of it.

    Raises:
        StoreError: If the disk refuses.
    """
    text = yaml.safe_dump(_raw(spec, space), sort_keys=False, allow_unicode=True, width=100)
    write_atomically(paths.spec, "# The study as resolved by autotune.\n" + text)


def read_stored_study(paths: StudyPaths) -> tuple[StudySpec, SearchSpace]:
    """Read it back.

    Raises:
        SpecError: If somebody broke the file.
    """
    spec = read_study(paths.spec)
    if isinstance(spec.space, str):  # written by hand: a resolved study holds its space
        return spec, SearchSpace(name=spec.space, parameters=())
    return spec, space_from(spec.space, where=f"{paths.spec}: space")


def ensure_same_study(paths: StudyPaths, spec: StudySpec, space: SearchSpace) -> None:
    """Make sure that a study of this name, if there is one, is this study.

    Raises:
        StudyConflictError: Naming the first difference.
        SpecError: If its file cannot be read.
    """
    if not paths.spec.exists():
        return
    stored, stored_space = read_stored_study(paths)
    before, now = _raw(stored, _bare(stored_space)), _raw(spec, _bare(space))
    difference = next(_differences(_fixed(before), _fixed(now)), None)
    if difference is not None:
        field, old, new = difference
        message = f"study {paths.name!r} exists with another {field}: {old!r} there, {new!r} here"
        hint = "Give this run another --name, or take that study's settings."
        raise StudyConflictError(message, hint=hint)


def _raw(spec: StudySpec, space: SearchSpace) -> dict[str, Any]:
    return {**spec.model_dump(mode="json", by_alias=True), "space": space_to_raw(space)}


def _bare(space: SearchSpace) -> SearchSpace:
    """What a space allows, however it is told: reasons are worded anew between releases."""
    return replace(space, forbidden=bare(space.forbidden))


def _fixed(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in FREE_FIELDS}


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Depth first: dotted field, value there, value here."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{path} -> {key}".lstrip("-> "))
    elif old != new or type(old) is not type(new):
        yield path, old, new
