"""Trial and study to whoever watches: the live view, plain lines, JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autotune.records import Configuration, TrialKind, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the user should read once: a removed parameter, a repair, a warning."""

    text: str
    level: str = "info"  # info, warning


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial begins."""

    number: int
    kind: TrialKind
    label: str
    configuration: Configuration
    trials_done: int
    trials_total: int | None


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """A trial enters a phase, such as "starting" or "probe:throughput"."""

    number: int
    phase: str
    at_ns: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class TelemetrySeen:
    """A look at the machine while a trial runs."""

    number: int
    values: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """A trial is on disk."""

    record: TrialRecord
    front: tuple[int, ...] = ()
    remaining_s: float | None = None


Event = Notice | TrialStarted | PhaseStarted | TelemetrySeen | TrialEnded
Observer = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """An observer that does not care."""
