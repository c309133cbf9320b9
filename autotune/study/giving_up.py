"""When a study is ended because further trials would cost time for nothing."""

from collections import Counter
from collections.abc import Sequence

from autotune.errors import HostError, NothingFeasibleError
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus, ProbeStatus, TrialRecord


def abort_if_nothing_works(tried: Sequence[TrialRecord], most: int, paths: StudyPaths) -> None:
    """End a study of which no trial has been served, once the first ones of a run all failed.

    Args:
        tried: Trials of this run.
        most: How many failures are enough.
        paths: Where their logs are.

    Raises:
        NothingFeasibleError: Naming the commonest failure.
    """
    first = tried[:most]
    if len(first) < most:
        return
    failures = [r.outcome.failure for r in first if r.outcome.failure is not None]
    kind, count = Counter(f.kind for f in failures).most_common(1)[0]
    example = next(f for f in failures if f.kind is kind)
    message = (
        f"none of the first {len(first)} trials got as far as a measurement; "
        f"{count} of them: {kind.value} ({example.message})"
    )
    hint = f"Mend that first; the engine's own words are in {paths.trial(first[0].number).log}."
    raise NothingFeasibleError(message, hint=hint)


def abort_if_the_host_fails(tried: Sequence[TrialRecord], most: int) -> None:
    """End a run whose last trials all failed through no fault of their configurations.

    A Docker engine that went away in the night would else use up the whole budget.

    Raises:
        HostError: Naming the last failure.
    """
    last = tried[-most:]
    if len(last) < most or any(r.outcome.status is not OutcomeStatus.FAILED for r in last):
        return
    failure = last[-1].outcome.failure
    what = "" if failure is None else f": {failure.kind.value} ({failure.message})"
    message = f"the last {most} trials failed through no fault of their configurations{what}"
    raise HostError(message, hint="Mend that; the same command goes on from there.")


def served(record: TrialRecord) -> bool:
    """Whether the server answered at least one probe."""
    return record.is_measured or any(p.status is ProbeStatus.MEASURED for p in record.probes)
