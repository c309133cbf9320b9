"""The store on disk keeps the contract of stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.paths import StudyPaths
from autotune.store import TrialStore
from tests.contract.store_suite import StoreContract


class TestFileStore(StoreContract):
    """One folder, opened anew for every call."""

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], TrialStore]:
        """Open the store of study `sample`."""
        return lambda: TrialStore(StudyPaths(tmp_path / "sample"))
