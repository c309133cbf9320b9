"""`--json`: one JSON object per event and line, raw values, for machines."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

import orjson

from autotune.records import TrialRecord
from autotune.report.untrusted import plain_json
from autotune.seams.events import (
    Event,
    Notice,
    PhaseStarted,
    TelemetrySeen,
    TrialEnded,
    TrialStarted,
)


class JsonLines:
    """Writes each event as one line of JSON, flushed at once.

    Every object has an `event`; tags are those of the metric declarations, values raw (ns, bytes).
    `summary` lets a command add its result as a last line.

    Args:
        stream: Where to write.
        telemetry: Whether looks at the machine are written too.
    """

    def __init__(self, stream: TextIO, *, telemetry: bool = False) -> None:
        self._stream = stream
        self._telemetry = telemetry

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Write out what is buffered."""
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, TelemetrySeen) and not self._telemetry:
            return
        self._write(as_json(event))

    def summary(self, values: Mapping[str, Any]) -> None:
        """A last line of event "result"."""
        self._write({"event": "result", **values})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._stream.write(line_of(values) + "\n")
        self._stream.flush()


def result_line(values: Mapping[str, Any]) -> str:
    """One JSON object, event "result": what a command that runs nothing has to say."""
    return line_of({"event": "result", **values})


def line_of(values: Mapping[str, Any]) -> str:
    """One JSON object on one line, fit for a terminal."""
    line = orjson.dumps(values, option=orjson.OPT_NON_STR_KEYS, default=str)
    return plain_json(line.decode())


def as_json(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    match event:
        case Notice():
            return {"event": "notice", "level": event.level, "text": event.text}
        case TrialStarted():
            return {
                "event": "trial_started",
                "number": event.number,
                "kind": event.kind.value,
                "label": event.label,
                "configuration": event.configuration.values,
                "trials_done": event.trials_done,
                "trials_total": event.trials_total,
            }
        case PhaseStarted():
            return {
                "event": "phase_started",
                "number": event.number,
                "phase": event.phase,
                "at_ns": event.at_ns,
                "detail": event.detail,
            }
        case TelemetrySeen():
            return {"event": "telemetry", "number": event.number, "values": dict(event.values)}
        case TrialEnded():
            return {
                "event": "trial_ended",
                **record_as_json(event.record),
                "front": list(event.front),
                "remaining_s": event.remaining_s,
            }


def record_as_json(record: TrialRecord) -> dict[str, Any]:
    """What a machine asks of a finished trial; the whole record lies in its folder."""
    failure = record.outcome.failure
    return {
        "number": record.number,
        "kind": record.kind.value,
        "label": record.label,
        "simulated": record.simulated,
        "status": record.outcome.status.value,
        "failure": None if failure is None else {
            "kind": failure.kind.value,
            "phase": failure.phase,
            "message": failure.message,
            "needed_gib": failure.needed_gib,
            "available_gib": failure.available_gib,
            "margin_gib": failure.margin_gib,
        },
        "configuration": record.configuration.values,
        "left_out": dict(record.left_out),
        "metrics": dict(record.metrics),
    }  # fmt: skip
