"""Trial records on disk: `trials/0007/trial.json`, written once, never changed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.store.codec import DamagedRecordError, decode, encode
from autotune.store.files import write_atomically

DAMAGED_SUFFIX: Final = ".damaged"
_MOST_DIGITS: Final = 6
"""Of a trial's number: a budget has 100,000 trials at most."""


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A record that could not be used.

    Attributes:
        path: Where it lies now: set aside, or where it was found.
        reason: What is wrong with it, one line.
    """

    number: int
    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a store holds: whole records in the order of their numbers, and what was set aside."""

    records: tuple[TrialRecord, ...]
    damaged: tuple[Damaged, ...] = ()


class TrialStore:
    """The records of one study.

    One process writes (it holds `StudyLock`); any number may read meanwhile.

    Args:
        paths: The study's files.
        study: The name that its records carry; the folder's name if None.
    """

    def __init__(self, paths: StudyPaths, study: str | None = None) -> None:
        self.paths = paths
        self.study = paths.name if study is None else study

    def append(self, record: TrialRecord) -> None:
        """Put a record on disk; it is safe there when this returns.

        Raises:
            StoreError: If the disk refuses, the number is taken, or the study is another's.
        """
        if record.study != self.study:
            message = f"a record of study {record.study!r} does not belong to {self.study!r}"
            raise StoreError(message, hint="Give the study a name of its own.")
        path = self.paths.trial(record.number).record
        if os.path.lexists(path):
            message = f"{path} is there already; records are never overwritten"
            raise StoreError(message, hint="Is another autotune running this study?")
        write_atomically(path, encode(record))

    def read_all(self, *, mend: bool = False) -> Stored:
        """Every record, by number; what is damaged or foreign is reported.

        Args:
            mend: Set what is damaged aside, under another name. Only who writes here asks for
                it; who looks, with the wrong study's name perhaps, changes nothing.

        Raises:
            StoreError: If a file cannot be read, or a newer autotune wrote it.
        """
        records: list[TrialRecord] = []
        damaged = [_set_aside(found) if mend else found for found in self._misplaced()]
        for number in self._numbers():
            path = self.paths.trial(number).record
            try:
                if os.path.lexists(path):
                    records.append(self._read(path, number))
            except DamagedRecordError as error:
                found = Damaged(number=number, path=path, reason=str(error))
                damaged.append(_set_aside(found) if mend else found)
            except OSError as error:
                message = f"{path} cannot be read: {error.strerror}"
                raise StoreError(message, hint="Check its rights.") from error
        return Stored(records=tuple(records), damaged=tuple(damaged))

    def records(self) -> tuple[TrialRecord, ...]:
        """Every whole record, by number; no file is touched."""
        return self.read_all().records

    def set_aside(self) -> tuple[Path, ...]:
        """Files of damaged records that this or an earlier reading set aside."""
        pattern = f"*/{self.paths.trial(0).record.name}{DAMAGED_SUFFIX}*"
        return tuple(sorted(self.paths.trials.glob(pattern)))

    def next_number(self) -> int:
        """The lowest number above every trial folder, whether it holds a record or not."""
        return max(self._numbers(), default=-1) + 1

    def _numbers(self) -> list[int]:
        """Of the trial folders, by the names that this program gives them, in order."""
        return sorted(int(f.name) for f in self._folders() if self._is_ours(f))

    def _misplaced(self) -> Iterator[Damaged]:
        """Records in folders whose names only resemble a trial's: `7` beside `0007`."""
        for folder in sorted(f for f in self._folders() if not self._is_ours(f)):
            path = folder / self.paths.trial(0).record.name
            if folder.name.isdecimal() and os.path.lexists(path):
                reason = f"lies in a folder {folder.name!r}, which is no trial's"
                yield Damaged(number=int(folder.name), path=path, reason=reason)

    def _folders(self) -> list[Path]:
        return list(self.paths.trials.iterdir()) if self.paths.trials.is_dir() else []

    def _is_ours(self, folder: Path) -> bool:
        """Whether a folder has a trial's name; a date or a larger number is somebody else's."""
        name = folder.name
        if not (name.isascii() and name.isdecimal()) or len(name) > _MOST_DIGITS:
            return False
        return self.paths.trial(int(name)).root.name == name

    def _read(self, path: Path, number: int) -> TrialRecord:
        if not path.is_file():
            message = "is no file: a folder or a link to nowhere is in its place"
            raise DamagedRecordError(message)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            message = "is not UTF-8 text"
            raise DamagedRecordError(message) from error
        record = decode(text, where=str(path))
        if record.number != number or record.study != self.study:
            message = f"belongs to trial {record.number} of study {record.study!r}"
            raise DamagedRecordError(message)
        return record


def _set_aside(damaged: Damaged) -> Damaged:
    """Rename a bad record, under a name that is free, so that nothing is lost."""
    path = damaged.path
    target = path.with_name(path.name + DAMAGED_SUFFIX)
    count = 1
    while os.path.lexists(target):
        count += 1
        target = path.with_name(f"{path.name}{DAMAGED_SUFFIX}-{count}")
    try:
        path.rename(target)
    except OSError:  # a folder that may only be read: report it where it lies
        target = path
    return replace(damaged, path=target)
