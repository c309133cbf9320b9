"""Memory of a set of processes against a limit."""

import os
from pathlib import Path

import pytest

from autotune.deployers import resident
from autotune.deployers.processes import ProcessId
from autotune.deployers.resident import resident_bytes

PAGE = os.sysconf("SC_PAGE_SIZE")
TWO = (ProcessId(41, 1), ProcessId(42, 1))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two processes of 100 pages each, which they share."""
    for pid in (41, 42):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "statm").write_text("500 100 90 0 0 0 0\n")
        (folder / "smaps_rollup").write_text(f"0-1 [rollup]\nPss:  {50 * PAGE // 1024} kB\n")
    monkeypatch.setattr(resident, "PROC", tmp_path)
    return tmp_path


def test_under_the_limit_the_cheap_figure_is_enough(proc: Path) -> None:
    """The sum of resident sizes is never too small, so under the limit nothing else is read."""
    for pid in (41, 42):
        (proc / str(pid) / "smaps_rollup").unlink()
    assert resident_bytes(TWO, enough=200 * PAGE) == 200 * PAGE


@pytest.mark.usefixtures("proc")
def test_over_the_limit_shared_pages_count_once() -> None:
    """Beyond it the exact figure decides."""
    assert resident_bytes(TWO, enough=150 * PAGE) == 100 * PAGE


def test_a_process_that_does_not_tell_counts_whole(proc: Path) -> None:
    """Without the exact figure a process counts with all that it has resident."""
    (proc / "42" / "smaps_rollup").unlink()
    assert resident_bytes(TWO, enough=0) == 150 * PAGE


@pytest.mark.usefixtures("proc")
def test_a_process_that_is_gone_has_none() -> None:
    """It has given its memory back."""
    assert resident_bytes((ProcessId(99, 1),), enough=0) == 0
