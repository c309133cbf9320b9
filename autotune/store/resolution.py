"""`resolved.json`: what became of the declared space, and what the user should know of it.

`study.yaml` holds the space that is left; this holds what was taken out and why, and the settings
that are kept although they have been seen to go wrong.
"""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from autotune.paths import StudyPaths
from autotune.records import Configuration
from autotune.seams.engine import Fragile, Removal, ResolvedSpace
from autotune.store.files import read_regular, write_atomically


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What was found when the engine at hand was held against the declared space.

    Attributes:
        removed: What the engine lacks.
        fragile: What is kept although it has been seen to go wrong.
        notes: What is to be known of the engine itself (a release newer than the table).
    """

    removed: tuple[Removal, ...] = ()
    fragile: tuple[Fragile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that the user should know, a line each."""
        return (*self.notes, *map(str, self.fragile))

    def concerning(self, configuration: Configuration) -> tuple[str, ...]:
        """The warnings that one configuration earns."""
        found = [str(fragile) for fragile in self.fragile if fragile.concerns(configuration)]
        return (*self.notes, *found)


_ADAPTER = TypeAdapter(Resolution)


def write_resolution(paths: StudyPaths, space: ResolvedSpace, notes: tuple[str, ...] = ()) -> None:
    """Write it beside the study.

    Raises:
        StoreError: If the disk refuses.
    """
    found = Resolution(removed=space.removed, fragile=space.fragile, notes=notes)
    write_atomically(paths.resolution, _ADAPTER.dump_json(found, indent=1).decode() + "\n")


def read_resolution(paths: StudyPaths) -> Resolution:
    """Read it back; empty for a study of before, with a note if somebody broke the file."""
    try:
        return _ADAPTER.validate_json(read_regular(paths.resolution))
    except FileNotFoundError:
        return Resolution()
    except (OSError, ValidationError):
        note = f"{paths.resolution.name} is damaged: what the engine lacks is told by the next run"
        return Resolution(notes=(note,))
