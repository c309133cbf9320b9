"""Reading a study that was run before; nothing here writes."""

import os
import re
from dataclasses import dataclass

from autotune.errors import UsageError
from autotune.paths import StudyPaths, results_root
from autotune.records import TrialKind, TrialRecord
from autotune.spec.space import SearchSpace
from autotune.spec.study import NAME_PATTERN, Preference, StudySpec
from autotune.store import Stored, TrialStore, read_preference, read_stored_study


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study on disk.

    Attributes:
        prefer: The end of the front that was chosen after the study; None for the study's own.
        damaged: Records that cannot be used, a line each: found now, or set aside earlier.
    """

    spec: StudySpec
    space: SearchSpace
    paths: StudyPaths
    stored: Stored
    prefer: Preference | None = None
    damaged: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Every whole record."""
        return self.stored.records

    @property
    def is_matrix(self) -> bool:
        """Whether its trials are the cells of a matrix."""
        return any(record.kind is TrialKind.MATRIX for record in self.records)

    def trial(self, number: int) -> TrialRecord:
        """The record of a number.

        Raises:
            UsageError: If there is none.
        """
        for record in self.records:
            if record.number == number:
                return record
        message = f"study {self.spec.name!r} has no trial {number}"
        raise UsageError(message, hint=f"`autotune show {self.spec.name}` lists its trials.")


def stored_study(name: str) -> StoredStudy:
    """Read a study by its name.

    Raises:
        UsageError: If there is no such study here.
        StoreError: If its files cannot be read.
    """
    paths = paths_of(name)
    if not paths.spec.is_file():
        raise _no_study(name)
    spec, space = read_stored_study(paths)
    store = TrialStore(paths, spec.name)
    stored = store.read_all()
    damaged = [f"the record of trial {d.number} is damaged ({d.reason}): {d.path}"
               for d in stored.damaged]  # fmt: skip
    damaged += [f"a damaged record was set aside: {path}" for path in store.set_aside()]
    return StoredStudy(
        spec=spec,
        space=space,
        paths=paths,
        stored=stored,
        prefer=read_preference(paths),
        damaged=tuple(damaged),
    )


def paths_of(name: str) -> StudyPaths:
    """Files of a study that was run here, by its name alone.

    Raises:
        UsageError: If it is no study's name: a path, say, which would lead anywhere.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise _no_study(name)
    return StudyPaths(results_root() / name)


def paths_of_written(name: str) -> StudyPaths:
    """The same, of a study whose folder is autotune's, even where its file is lost or damaged.

    Raises:
        UsageError: If there is no such folder, or nothing in it that autotune writes.
    """
    paths = paths_of(name)
    marks = (paths.spec, paths.trials, paths.database, paths.lock)
    if paths.root.is_symlink() or not any(map(os.path.lexists, marks)):
        raise _no_study(name)
    return paths


def _no_study(name: str) -> UsageError:
    message = f"there is no study {name!r} under {results_root()}"
    return UsageError(message, hint="`autotune list` shows those that there are.")


def study_names() -> tuple[str, ...]:
    """Names of the studies under the current directory."""
    root = results_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(p.name for p in root.iterdir() if StudyPaths(p).spec.is_file()))
