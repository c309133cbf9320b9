"""The scan of an installation is kept for as long as nothing changes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.clock import MonotonicClock
from autotune.engines.vllm.capabilities import detect
from autotune.seams.engine import EngineTarget
from tests.unit.engines.vllm.test_capabilities import installation

LATER_NS = 2_000_000_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A small vLLM whose Python writes down each time that it is started."""
    installation(tmp_path)
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\necho started >> {tmp_path}/starts\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return tmp_path


def flags(place: Path, **env: str) -> frozenset[str]:
    """What detection finds."""
    command = (str(place / "bin" / "python3"), "-m", "vllm")
    packages = {"PYTHONPATH": str(place / "site"), **env}
    target = EngineTarget(deployer="process", command=command, env=packages)
    return MonotonicClock().run(detect(target)).flags


def starts(place: Path) -> int:
    """How often the Python was started."""
    return len((place / "starts").read_text().splitlines())


def touch(path: Path, seconds: int = 1) -> None:
    """As if it had been written so much later."""
    at = path.stat().st_mtime_ns + seconds * LATER_NS
    os.utime(path, ns=(at, at))


def test_a_second_look_starts_nothing(place: Path) -> None:
    """And finds the same."""
    assert flags(place) == flags(place)
    assert starts(place) == 1


def _option(place: Path) -> None:
    file = place / "site" / "vllm" / "engine" / "arg_utils.py"
    file.write_text(file.read_text().replace("--async-scheduling", "--other-scheduling"))
    touch(file)


def _configuration(place: Path) -> None:
    (place / "site" / "vllm" / "config" / "new.py").write_text("class NewConfig:\n    x: int = 1\n")
    touch(place / "site" / "vllm" / "config")


def _package(place: Path) -> None:
    (place / "site" / "another.dist-info").mkdir()
    touch(place / "site")


def _interpreter(place: Path) -> None:
    touch(place / "bin" / "python3")


@pytest.mark.parametrize("change", [_option, _configuration, _package, _interpreter])
def test_a_change_is_looked_at_anew(place: Path, change: Callable[[Path], None]) -> None:
    """In a file that was read, a folder that more would be read from, the packages, the Python."""
    before = flags(place)
    change(place)
    after = flags(place)
    assert starts(place) == 2
    assert ("other-scheduling" in after) == (change is _option)
    assert "async-scheduling" in before


def test_other_places_for_packages_are_another_installation(place: Path) -> None:
    """PYTHONPATH is part of what is kept."""
    flags(place)
    flags(place, PYTHONPATH=f"{place / 'site'}:{place}")
    assert starts(place) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"found": 1, "stamps": {}}', '{"found": {}}'])
def test_a_damaged_file_is_no_answer(place: Path, tmp_path: Path, content: str) -> None:
    """It is written anew."""
    found = flags(place)
    (file,) = Path(os.environ["XDG_CACHE_HOME"]).glob("autotune/capabilities/*.json")
    file.write_text(content)
    assert flags(place) == found
    assert starts(place) == 2
    assert flags(place) == found
    assert starts(place) == 2


def test_a_cache_that_cannot_be_written_costs_the_time_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a file is where its folder would be."""
    (place / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "file"))
    assert flags(place) == flags(place)
    assert starts(place) == 2
