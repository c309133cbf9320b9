"""Plain lines."""

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from autotune.cli.plain import PlainLines
from autotune.clock import VirtualClock
from autotune.records import Configuration, Failure, FailureKind, TrialKind
from autotune.seams.events import (
    Event,
    Notice,
    PhaseStarted,
    TelemetrySeen,
    TrialEnded,
    TrialStarted,
)
from autotune.spec.study import Objective
from tests.support.records import record

STARTED = TrialStarted(
    number=7,
    kind=TrialKind.SEARCH,
    label="",
    configuration=Configuration.of({"kv_cache_dtype": "fp8"}),
    trials_done=7,
    trials_total=40,
)


def written(events: Sequence[Event], *, quiet: bool = False) -> list[str]:
    """Lines that events give."""
    stream = io.StringIO()
    clock = VirtualClock(datetime(2026, 11, 2, 9, 15, tzinfo=UTC))
    objective = Objective(metric="output_tokens_per_s")
    with PlainLines(stream, clock=clock, objectives=[objective], quiet=quiet) as observer:
        for event in events:
            observer(event)
    return stream.getvalue().splitlines()


def test_each_event_is_one_line_with_the_time() -> None:
    """Started, phase, ended: a line each; a look at the machine is none."""
    lines = written([
        STARTED,
        PhaseStarted(number=7, phase="starting", at_ns=0),
        TelemetrySeen(number=7),
        TrialEnded(record=record(7, metrics={"output_tokens_per_s": 1530.0}), front=(7,),
                   remaining_s=720),
    ])  # fmt: skip
    outcome = "measured, Output throughput 1,530 tok/s"
    assert lines == [
        "09:15:00 trial 7 (8 of 40, search) starts: kv_cache_dtype=fp8",
        "09:15:00 trial 7: starting",
        f"09:15:00 trial 7: {outcome}; on the front; about 12 min left",
    ]


def test_of_virtual_time_nothing_is_left_to_wait_for() -> None:
    """A simulated study ends in seconds, whatever its clock says."""
    stream = io.StringIO()
    PlainLines(stream, virtual=True)(TrialEnded(record=record(7), remaining_s=720))
    assert "left" not in stream.getvalue()


def test_a_failure_tells_its_message_and_by_how_much() -> None:
    """Kind, line and the GiB that were short."""
    failure = Failure(
        kind=FailureKind.NO_ROOM_FOR_KV, phase="starting", message="no room", margin_gib=-1.25
    )
    assert written([TrialEnded(record=record(3, failure=failure))]) == [
        "09:15:00 trial 3: infeasible: no room for kv, no room, 1.25 GiB short"
    ]


def test_a_simulated_outcome_is_marked() -> None:
    """Nobody can take it for a measurement."""
    (line,) = written([TrialEnded(record=record(3, simulated=True))])
    assert "SIMULATED" in line


def test_quiet_keeps_warnings_only() -> None:
    """Neither starts nor outcomes: the command prints its result at the end."""
    lines = written(
        [STARTED, Notice(text="hello"), Notice(text="careful", level="warning"),
         TrialEnded(record=record(7, metrics={}))],
        quiet=True,
    )  # fmt: skip
    assert lines == ["09:15:00 warning: careful"]


def test_a_retry_takes_no_place_in_the_budget() -> None:
    """It stands beside a trial that was counted: there is no 41 of 40."""
    retry = replace(STARTED, number=40, kind=TrialKind.RETRY, trials_done=40)
    (line,) = written([retry])
    assert line == "09:15:00 trial 40 (retry) starts: kv_cache_dtype=fp8"


def test_untrusted_text_stays_on_its_line() -> None:
    """Line breaks and escape sequences of a log cannot forge lines."""
    lines = written([Notice(text="a\n09:15:00 trial 9: measured\x1b[2J")])
    assert lines == ["09:15:00 a 09:15:00 trial 9: measured"]
