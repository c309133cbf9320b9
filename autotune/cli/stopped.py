"""What a user who pressed Ctrl-C wants to know: what was cut off, and what is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from autotune.errors import OutputLostError
from autotune.records import TrialRecord
from autotune.report.quantities import phase_text
from autotune.store import TrialStore


@contextmanager
def told_when_stopped(store: TrialStore) -> Iterator[None]:
    """Say on stderr what is kept if Ctrl-C ends what is inside, or a lost output; raised on."""
    before = store.next_number()
    try:
        yield
    except (KeyboardInterrupt, OutputLostError):
        console = Console(stderr=True, highlight=False)
        for line in stopped_text(store, before):
            console.print(line, markup=False, soft_wrap=True)
        raise


def stopped_text(store: TrialStore, before: int) -> Sequence[str]:
    """Lines for people.

    Args:
        store: The study's.
        before: The first trial number of this run.
    """
    records = store.records()
    cut = [r for r in records if r.number >= before and r.is_interrupted]
    kept = sum(not r.is_interrupted for r in records)
    what = ", ".join(f"trial {r.number} was cut off ({_where(r)})" for r in cut)
    return (
        f"stopped: {what or 'no trial was running'}",
        f"kept: {kept} finished {'trial' if kept == 1 else 'trials'} in {store.paths.root}",
        "go on: the same command" + ("; what was cut off is run again" if cut else ""),
    )


def _where(record: TrialRecord) -> str:
    failure = record.outcome.failure
    return "" if failure is None else phase_text(failure.phase)
