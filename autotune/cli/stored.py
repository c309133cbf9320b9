"""Reading a study that was run before; nothing here writes."""

from dataclasses import dataclass

from autotune.errors import UsageError
from autotune.paths import StudyPaths, results_root
from autotune.records import TrialKind, TrialRecord
from autotune.spec.space import SearchSpace
from autotune.spec.study import Preference, StudySpec
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
    paths = StudyPaths(results_root() / name)
    if not paths.spec.is_file():
        message = f"there is no study {name!r} under {results_root()}"
        raise UsageError(message, hint="`autotune list` shows those that there are.")
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


def study_names() -> tuple[str, ...]:
    """Names of the studies under the current directory."""
    root = results_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(p.name for p in root.iterdir() if StudyPaths(p).spec.is_file()))
