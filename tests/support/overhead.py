"""How much of a trial is spent on anything but what it is there for."""

from typing import Final

from autotune.records import TrialRecord

COUNTED: Final = frozenset({"deploying", "starting", "warming_up", "waiting_for_memory"})
"""Besides the probes: the engine's start, from the making of its process or container on, and the
wait for its memory. Warming up counts as a probe: probes would be wrong without it, and what the
server says of itself is asked for meanwhile (1.5 s of it are vLLM's own `collect_env`)."""


def whole_ns(record: TrialRecord) -> int:
    """From the first phase's begin to the last one's end; gaps between phases included."""
    return record.phases[-1].end_ns - record.phases[0].start_ns


def other_ns(record: TrialRecord) -> int:
    """Time that is neither the engine's start, nor probes, nor waiting for memory."""
    return whole_ns(record) - sum(
        span.duration_ns
        for span in record.phases
        if span.name in COUNTED or span.name.startswith("probe:")
    )


def stopping_ns(record: TrialRecord) -> int:
    """The wait for the server's end."""
    return sum(span.duration_ns for span in record.phases if span.name == "stopping")


def spans_s(record: TrialRecord) -> dict[str, float]:
    """Phases with their seconds, for whoever reads a failure."""
    return {span.name: span.duration_ns / 1e9 for span in record.phases}
