"""What every store of trial records promises; a subclass supplies one fixture, `reopen`."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from autotune.errors import StoreError
from autotune.store import TrialStore
from tests.support.records import record, study_records


class StoreContract:
    """Inherit, and give `reopen`: opens the same store again, as another process would."""

    def test_an_empty_store_has_no_records(self, reopen: Callable[[], TrialStore]) -> None:
        """Nothing was written, nothing is read, and numbers begin at 0."""
        assert reopen().records() == ()
        assert reopen().next_number() == 0

    def test_what_is_appended_is_read_by_whoever_opens_it(
        self, reopen: Callable[[], TrialStore]
    ) -> None:
        """Records come back equal and in the order of their numbers."""
        written = study_records(6)
        for item in reversed(written):
            reopen().append(item)
        assert reopen().records() == written

    def test_an_append_is_seen_at_once(self, reopen: Callable[[], TrialStore]) -> None:
        """A reader that is open already sees the next record."""
        reader = reopen()
        reopen().append(record(0))
        assert reader.records() == (record(0),)

    def test_a_number_is_taken_once(self, reopen: Callable[[], TrialStore]) -> None:
        """The second record of a number is refused and the first stays."""
        reopen().append(record(0))
        with pytest.raises(StoreError):
            reopen().append(replace(record(0), label="second"))
        assert reopen().records() == (record(0),)

    def test_another_study_is_refused(self, reopen: Callable[[], TrialStore]) -> None:
        """Records of another study do not get in."""
        with pytest.raises(StoreError):
            reopen().append(record(0, study="another"))
        assert reopen().records() == ()

    def test_numbers_go_on(self, reopen: Callable[[], TrialStore]) -> None:
        """The next number is above the highest, gaps or not."""
        reopen().append(record(0))
        reopen().append(record(7))
        assert reopen().next_number() == 8
