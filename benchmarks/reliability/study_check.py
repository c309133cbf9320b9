"""What must hold of a study's files, whatever killed the controller that wrote them."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from autotune.errors import AutotuneError
from autotune.paths import StudyPaths
from autotune.records import FailureKind, OutcomeStatus, TrialKind, TrialRecord
from autotune.store.codec import DamagedRecordError, decode

ONCE = frozenset({TrialKind.BASELINE, TrialKind.SEED, TrialKind.SEARCH, TrialKind.RETRY})
"""Kinds of which a configuration that came to its end has one trial (proofs and the repeated
baseline are meant to be repeats)."""

OURS = frozenset({".env", ".env.SIMULATED", ".autotune.json"})
"""Hidden files that belong to a recommendation; any other is half of a file."""

CUT_OFF = frozenset({FailureKind.KILLED_FROM_OUTSIDE, FailureKind.INTERRUPTED})


class StudyCheck:
    """Looks at a study's folder between kills and remembers what was there.

    Args:
        paths: Its files.
    """

    def __init__(self, paths: StudyPaths) -> None:
        self._paths = paths
        self._seen: dict[Path, str] = {}

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return self._paths

    def after_kill(self, told: Path) -> Iterator[str]:
        """Broken promises once the controller is dead.

        Args:
            told: What it wrote with `--json`: a trial that it said has ended must have a record.
        """
        digests = {path: _digest(path) for path in self._files()}
        for path, digest in self._seen.items():
            if path not in digests:
                yield f"lost: {path}"
            elif digests[path] != digest:
                yield f"changed: {path}"
        self._seen = digests
        for number in _told_ended(told):
            if self._paths.trial(number).record not in digests:
                yield f"lost: trial {number} was told and has no record in {self._paths.root}"
        for path in digests:
            try:
                record = decode(path.read_text(encoding="utf-8"), where=str(path))
            except (DamagedRecordError, AutotuneError, UnicodeDecodeError) as error:
                yield f"damaged: {path}: {error}"
                continue
            if record.number != int(path.parent.name):
                yield f"misplaced: {path} is trial {record.number}"

    def at_end(self) -> Iterator[str]:
        """Broken promises once the study has come to its end."""
        records = self.whole_records()
        yield from _duplicates(records)
        yield from self._ledger({record.number for record in records})
        for path in self._paths.root.rglob(".*"):
            if path.is_file() and path.name not in OURS:
                yield f"left behind: {path}"
        for path in self._paths.trials.glob("*/trial.json.*"):
            yield f"set aside: {path}"

    def records(self) -> int:
        """How many there are."""
        return len(self._files())

    def measured(self) -> int:
        """How many of them are of trials that came to figures."""
        return sum(r.outcome.status is OutcomeStatus.MEASURED for r in self.whole_records())

    def cut_off(self) -> int:
        """How many of them are of trials that a kill cut off."""
        return sum(_is_cut_off(record) for record in self.whole_records())

    def whole_records(self) -> list[TrialRecord]:
        """All of them, read."""
        return [decode(path.read_text(), where=str(path)) for path in self._files()]

    def _files(self) -> list[Path]:
        return sorted(self._paths.trials.glob("*/trial.json"))

    def _ledger(self, numbers: set[int]) -> Iterator[str]:
        """Optuna's database against the records, in SQL: another reader than the one under test."""
        with closing(sqlite3.connect(f"file:{self._paths.database}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT number, state FROM trials").fetchall()
            (fine,) = database.execute("PRAGMA integrity_check").fetchone()
        if fine != "ok":
            yield f"database: {fine}"
        for number, count in Counter(number for number, _ in rows).items():
            if count > 1:
                yield f"duplicated: {count} rows of trial {number} in {self._paths.database}"
        for number, state in rows:
            if state in {"RUNNING", "WAITING"}:
                yield f"orphan: trial {number} is {state} in {self._paths.database}"
            elif state in {"COMPLETE", "PRUNED"} and number not in numbers:
                yield f"lost: trial {number} is {state} in the database and has no record"
        for number in sorted(numbers - {number for number, _ in rows}):
            yield f"lost: trial {number} is not in {self._paths.database}"


def _duplicates(records: list[TrialRecord]) -> Iterator[str]:
    """Configurations that were run to their end more than once, or cut off and retried twice."""
    baselines = Counter(r.configuration for r in records if r.kind is TrialKind.BASELINE)
    ended = Counter(
        r.configuration for r in records if r.kind in ONCE and not _is_cut_off(r)
        and r.configuration not in baselines
        and r.outcome.status is not OutcomeStatus.FAILED  # the host's fault: run again, rightly
    )  # fmt: skip
    for configuration, count in ended.items():
        if count > 1:
            yield f"duplicated: {configuration} was run {count} times"


def _is_cut_off(record: TrialRecord) -> bool:
    failure = record.outcome.failure
    return failure is not None and failure.kind in CUT_OFF


def _told_ended(told: Path) -> Iterator[int]:
    """Numbers of trials in the whole lines of a `--json` output."""
    text = told.read_text(encoding="utf-8", errors="replace") if told.exists() else ""
    for line in text.split("\n")[:-1]:
        try:
            event = json.loads(line)
        except ValueError:  # a line that a kill cut short, and the next run's behind it
            continue
        if event["event"] == "trial_ended":
            yield int(event["number"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
