"""What the page shows of a single trial when it is opened: compact data for its script.

Every text is cleaned here and set as text by the script, never as HTML.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from autotune.metrics import METRICS
from autotune.records import TrialRecord
from autotune.report.quantities import display, duration_text, title
from autotune.report.table import SIMULATED
from autotune.report.tables import outcome_text
from autotune.report.untrusted import one_line, shorten
from autotune.units import s_from_ns

_ALL_TRIALS_CHARACTERS: Final = 1_200_000
"""Log text of all trials together, so that 500 of them stay far under 5 MB."""

LogTail = Callable[[int, int], str]
"""Trial number and most characters to the end of its log."""


def details(
    records: Sequence[TrialRecord], baseline: TrialRecord | None, tail: LogTail
) -> dict[str, Any]:
    """Names of the metrics once, then one entry per trial.

    Args:
        records: Every trial.
        baseline: Settings that differ from its own are marked.
        tail: Gives the end of a trial's log.
    """
    tags = [tag for tag in METRICS if any(r.metrics.get(tag) is not None for r in records)]
    room = max(600, min(6_000, _ALL_TRIALS_CHARACTERS // max(1, len(records))))
    return {
        "metrics": [title(tag) for tag in tags],
        "trials": {
            str(record.number): _trial(record, tags, baseline, tail(record.number, room))
            for record in records
        },
    }


def as_script(values: dict[str, Any]) -> str:
    """JSON that may stand inside a script element: no `<` can end it early."""
    text = orjson.dumps(values).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _trial(
    record: TrialRecord, tags: Sequence[str], baseline: TrialRecord | None, tail: str
) -> dict[str, Any]:
    failure = record.outcome.failure
    reference = {} if baseline is None else baseline.configuration.values
    settings = record.configuration.values
    found: dict[str, Any] = {
        "head": " · ".join(
            [one_line(record.label) or record.kind.value, outcome_text(record.outcome)]
            + ([SIMULATED] if record.simulated else [])
        ),
        "status": record.outcome.status.value,
        "settings": [
            [name, one_line(str(value)), int(name not in reference or reference[name] != value)]
            for name, value in settings.items()
        ],
        "figures": [display(tag, record.metrics.get(tag), missing="") for tag in tags],
        "time": duration_text(s_from_ns(sum(p.duration_ns for p in record.phases))),
        "start": one_line(record.wall_start),
        "log": tail,
    }
    if failure is not None:
        found["failure"] = one_line(failure.message)
        found["evidence"] = [shorten(line, 400) for line in failure.evidence[:6]]
        if failure.margin_gib is not None:
            found["margin"] = _margin(failure.margin_gib)
    notes = [*record.notes, *(note for probe in record.probes for note in probe.notes)]
    notes += [f"{name} left out: {why}" for name, why in record.left_out.items()]
    if record.applied is not None:
        notes += [
            f"{m.parameter}: asked for {m.asked}, the server runs with {m.got}"
            for m in record.applied.mismatches
        ]
    if notes:
        found["notes"] = [shorten(note, 300) for note in notes[:12]]
    return found


def _margin(margin_gib: float) -> str:
    if margin_gib < 0:
        return f"{-margin_gib:.2f} GiB short"
    return f"{margin_gib:.2f} GiB to spare"
