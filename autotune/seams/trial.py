"""Study to trial: which configuration, and the one record that comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.engine import Screening, Settled


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """One trial to run.

    Attributes:
        number: Position in the study; names the trial's folder.
        label: A cell's name in a matrix, or empty.
        left_out: Settings that this engine lacks: parameter to reason.
        probes: Names of the probes to run; None for all of the study's.
        baseline: Reference answers of the baseline by probe, where there are any.
        image: An image of its own, for a matrix cell.
        hopeless: Asked after each probe with what has been measured: why the rest would be for
            nothing, or None. The trial then ends with what it has.
    """

    number: int
    kind: TrialKind
    configuration: Configuration
    label: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[str, ...] | None = None
    baseline: Mapping[str, object] | None = None
    image: str | None = None
    hopeless: Callable[[Mapping[str, float | None]], str | None] | None = None


class TrialRunner(Protocol):
    """Runs trials of one study on one machine."""

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Deploy, measure, stop; exactly one record comes back, whatever happened.

        Cancellation (Ctrl-C) ends the trial cleanly and still returns a record, of kind
        `FailureKind.INTERRUPTED` unless its outcome was known by then; the caller stores it and
        then raises `CancelledError`.

        Raises:
            AutotuneError: Only for what would stop every further trial too.
        """
        ...

    def screen(self, configuration: Configuration) -> Screening:
        """The engine's verdict before a start."""
        ...

    def settle(self, configuration: Configuration) -> Settled:
        """A fixed configuration held against the engine at hand."""
        ...
