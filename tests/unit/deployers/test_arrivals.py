"""Being told of new files."""

import select
from pathlib import Path

import pytest

from autotune.deployers.arrivals import Arrivals


def is_told(arrivals: Arrivals) -> bool:
    """Whether there is something to hear at this moment."""
    assert arrivals.descriptor is not None
    return bool(select.select([arrivals.descriptor], [], [], 0)[0])


@pytest.mark.parametrize("how", ["written", "moved"])
def test_a_new_file_is_told_once(tmp_path: Path, how: str) -> None:
    """Until the next one comes; one that was there is none."""
    (tmp_path / "older").write_text("")
    (tmp_path / "watched").mkdir()
    arrivals = Arrivals(tmp_path / "watched")
    assert not is_told(arrivals)
    for name in ("first", "second"):
        if how == "written":
            (tmp_path / "watched" / name).write_text("")
        else:
            (tmp_path / "older").rename(tmp_path / "watched" / name)
            (tmp_path / "older").write_text("")
        assert is_told(arrivals)
        arrivals.clear()
        assert not is_told(arrivals)
    arrivals.close()


def test_a_folder_that_cannot_be_watched_tells_nothing(tmp_path: Path) -> None:
    """As where a user has no watch left: then processes are looked at now and then alone."""
    arrivals = Arrivals(tmp_path / "nowhere")
    assert arrivals.descriptor is None
    arrivals.clear()
    arrivals.close()
