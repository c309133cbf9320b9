"""The truth about a study: its records on disk, the study as resolved, and who runs it."""

from autotune.store.lock import StudyLock
from autotune.store.preference import forget_preference, read_preference, write_preference
from autotune.store.records import Damaged, Stored, TrialStore
from autotune.store.resolution import Resolution, read_resolution, write_resolution
from autotune.store.study_file import ensure_same_study, read_stored_study, write_study

__all__ = [
    "Damaged",
    "Resolution",
    "Stored",
    "StudyLock",
    "TrialStore",
    "ensure_same_study",
    "forget_preference",
    "read_preference",
    "read_resolution",
    "read_stored_study",
    "write_preference",
    "write_resolution",
    "write_study",
]
