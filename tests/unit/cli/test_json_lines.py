"""JSON lines."""

import io
import json
from typing import Any

from autotune.cli.json_lines import JsonLines
from autotune.records import Configuration, Failure, FailureKind, TrialKind
from autotune.seams.events import (
    Event,
    Notice,
    PhaseStarted,
    TelemetrySeen,
    TrialEnded,
    TrialStarted,
)
from tests.support.records import record


def written(*events: Event, telemetry: bool = False) -> list[dict[str, Any]]:
    """Objects that events give."""
    stream = io.StringIO()
    with JsonLines(stream, telemetry=telemetry) as observer:
        for event in events:
            observer(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_becomes_one_object() -> None:
    """Each line parses on its own and names its event."""
    configuration = Configuration.of({"kv_offload_gib": 32, "async_scheduling": False})
    objects = written(
        Notice(text="hello"),
        TrialStarted(number=1, kind=TrialKind.SEARCH, label="", configuration=configuration,
                     trials_done=1, trials_total=None),
        PhaseStarted(number=1, phase="starting", at_ns=5),
        TrialEnded(record=record(1), front=(1,), remaining_s=12.5),
    )  # fmt: skip
    assert [o["event"] for o in objects] == [
        "notice", "trial_started", "phase_started", "trial_ended",
    ]  # fmt: skip
    assert objects[1]["configuration"] == {"async_scheduling": False, "kv_offload_gib": 32}


def test_values_are_raw() -> None:
    """Nanoseconds stay nanoseconds; what was not measured is null."""
    ended = TrialEnded(record=record(1, metrics={"ttft_8k_ns": 1.42e9, "startup_ns": None}))
    (made,) = written(ended)
    assert made["metrics"] == {"ttft_8k_ns": 1.42e9, "startup_ns": None}


def test_a_failure_is_told_with_its_margin() -> None:
    """Kind, phase, message and figures."""
    failure = Failure(
        kind=FailureKind.HOST_OOM, phase="starting", message="killed", margin_gib=-2.0
    )
    (made,) = written(TrialEnded(record=record(1, failure=failure)))
    assert made["status"] == "infeasible"
    assert made["failure"]["kind"] == "host_oom"
    assert made["failure"]["margin_gib"] == -2.0


def test_looks_at_the_machine_are_left_out_unless_asked_for() -> None:
    """Two a second would drown everything else."""
    seen = TelemetrySeen(number=1, values={"gpu_memory_used_bytes": 5.0})
    assert not written(seen)
    assert written(seen, telemetry=True)[0]["values"] == {"gpu_memory_used_bytes": 5.0}


def test_control_characters_cannot_break_a_line() -> None:
    """JSON escapes what would end a line or paint a terminal."""
    stream = io.StringIO()
    JsonLines(stream)(Notice(text="a\nb\x1b[2J"))
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_a_command_may_add_its_result() -> None:
    """The last line carries what the command found."""
    stream = io.StringIO()
    JsonLines(stream).summary({"recommended": 7})
    assert json.loads(stream.getvalue()) == {"event": "result", "recommended": 7}
