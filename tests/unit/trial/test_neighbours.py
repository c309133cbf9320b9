"""Who else is on the card."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.paths import StudyPaths
from autotune.seams.events import Event, Notice
from autotune.seams.telemetry import Gpu, Hardware
from autotune.trial.lifecycle import Trials
from autotune.trial.neighbours import neighbours
from tests.unit.trial.test_lifecycle import SPEC, bench, request

GIB = 1024**3
CARD = Gpu(
    index=0, name="GPU", memory_bytes=12 * GIB, compute_capability=(12, 0),
    reserved_bytes=GIB // 2, display_is_on=False,
)  # fmt: skip


def look(used_gib: float | None, others: int | None) -> dict[str, float | None]:
    """What NVML says while nothing of autotune's runs; used memory includes what is reserved."""
    return {
        "gpu_memory_used_bytes": None if used_gib is None else used_gib * GIB,
        "gpu_other_processes_count": None if others is None else float(others),
    }


class Looks:
    """A machine that is looked at again and again."""

    keys = ("gpu_memory_used_bytes", "gpu_other_processes_count")

    def __init__(self, *looks: Mapping[str, float | None]) -> None:
        self._looks = list(looks)

    async def read(self) -> Mapping[str, float | None]:
        """The next look; the last one again and again."""
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]


@pytest.mark.parametrize(
    ("card", "seen", "words"),
    [
        (CARD, look(0.5, 0), ""),
        (CARD, look(0.7, 0), ""),  # 0.2 GiB: the driver's own coming and going
        (CARD, look(0.5, 1), "1 other process"),
        (CARD, look(1.75, 2), "2 other processes, 1.25 GiB in use"),
        (replace(CARD, display_is_on=True), look(1.0, 1),
         "a display, 1 other process, 0.50 GiB in use"),
        (CARD, look(2.0, None), "1.50 GiB in use"),  # WSL names no processes
        (replace(CARD, display_is_on=None), look(None, None), ""),
        (replace(CARD, reserved_bytes=None), look(0.9, 0), ""),  # what is the driver's is not told
    ],
)  # fmt: skip
def test_a_display_processes_and_memory_are_told(
    card: Gpu, seen: dict[str, float | None], words: str
) -> None:
    """In words; nothing where nobody is, or nothing can be read."""
    assert neighbours(seen, Hardware(gpus=(card,))) == words


def test_without_a_card_nobody_is_on_it() -> None:
    """Whatever is read."""
    assert neighbours(look(2.0, 2), Hardware()) == ""


def runner_on(
    tmp_path: Path, source: Looks, told: list[str], *, swept: tuple[str, ...] = ()
) -> tuple[Trials, list[str]]:
    """A runner on a machine; what it warns of is noted."""

    def note(event: Event) -> None:
        if isinstance(event, Notice) and event.level == "warning":
            told.append(event.text)

    b = bench(tmp_path)
    b.deployer.swept = swept
    tools = replace(
        b.runner._tools,
        machine_sources=(source,),
        observer=note,
        context=replace(b.runner._tools.context, hardware=Hardware(gpus=(CARD,))),
    )
    return Trials(SPEC, StudyPaths(tmp_path / "s"), tools, owner=(1, "x")), told


def test_a_study_on_a_shared_card_says_so_and_every_record_holds_it(tmp_path: Path) -> None:
    """A warning before the first trial; the records' environment, which the report shows."""
    runner, told = runner_on(tmp_path, Looks(look(1.5, 3)), [])
    clock = runner._tools.clock
    clock.run(runner.prepare())
    assert told == [
        "the GPU has other users (3 other processes, 1.00 GiB in use): figures hold beside them"
    ]
    record = clock.run(runner.run(request()))
    assert record.environment["gpu_other_users"] == "3 other processes, 1.00 GiB in use"


def test_a_card_of_ones_own_is_not_spoken_of(tmp_path: Path) -> None:
    """Neither at the start nor in a record."""
    runner, told = runner_on(tmp_path, Looks(look(0.5, 0)), [])
    clock = runner._tools.clock
    clock.run(runner.prepare())
    assert told == []
    assert "gpu_other_users" not in clock.run(runner.run(request())).environment


def test_memory_of_a_dead_runs_server_is_no_neighbours(tmp_path: Path) -> None:
    """It was ended a moment ago, and the driver gives its memory back little by little."""
    source = Looks(look(9.0, 0), look(9.0 - 3, 0), look(0.5, 0))
    runner, told = runner_on(tmp_path, source, [], swept=("process 7",))
    clock = runner._tools.clock
    assert clock.run(runner.prepare()) == ("process 7",)
    assert told == []
    assert runner._idle.gpu_memory_used_bytes == 0.5 * GIB
