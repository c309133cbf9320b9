"""The truth about a study: its records on disk, the study as resolved, and who runs it."""

from autotune.store.lock import StudyLock
from autotune.store.records import Damaged, Stored, TrialStore
from autotune.store.study_file import ensure_same_study, read_stored_study, write_study

__all__ = [
    "Damaged",
    "Stored",
    "StudyLock",
    "TrialStore",
    "ensure_same_study",
    "read_stored_study",
    "write_study",
]
