"""What a study without a feasible trial has come to: limits that were broken, or nothing judged.

A trial that was cut off, interrupted, or that failed by no fault of its settings says nothing of
them: no limit was broken.
"""

from collections import Counter
from collections.abc import Sequence

from autotune.errors import NothingFeasibleError, NothingJudgedError
from autotune.records import OutcomeStatus, TrialKind, TrialRecord

GO_ON = (
    "The same command goes on with the study; where its time was over it needs a longer --timeout."
)


def judged(records: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Trials that say something of their configuration."""
    return tuple(r for r in records if r.outcome.status is not OutcomeStatus.FAILED)


def nothing_judged(records: Sequence[TrialRecord]) -> str:
    """What became of trials none of which was judged: a part of a sentence, with its causes."""
    if not records:
        return "no trial has ended yet"
    ends = Counter(map(_end, records))
    told = "; ".join(f"{count} {end}" for end, count in ends.most_common())
    return f"no trial has run to its end: {told}"


def no_candidate(records: Sequence[TrialRecord]) -> str:
    """Why trials that kept every limit are no choice, a part of a sentence; empty without any."""
    kept = [record for record in records if record.is_measured]
    if not kept:
        return ""
    if all(record.kind is TrialKind.MATRIX for record in records):
        return f"this is a matrix: its {len(records)} cells are compared, none is chosen"
    return (
        f"no configuration is a candidate: of the {len(kept)} trials that kept every limit each "
        "lacks a figure of an objective, or its configuration broke down as often"
    )


def nothing_feasible(name: str, records: Sequence[TrialRecord]) -> NothingFeasibleError:
    """The error that ends a command which needs a feasible trial.

    Args:
        name: The study's.
        records: Every trial, none of them feasible.
    """
    tried = judged(records)
    if not tried:
        return NothingJudgedError(f"of {name!r} {nothing_judged(records)}", hint=GO_ON)
    if reason := no_candidate(records):
        return NothingFeasibleError(f"of {name!r} {reason}", hint=f"`autotune show {name}`")
    is_some = len(tried) < len(records)
    message = f"none of the {len(tried)} trials of {name!r}"
    message += " that were judged is feasible" if is_some else " is feasible"
    if len(tried) == 1:
        judged_alone = " that was judged" if is_some else ""
        message = f"the one trial of {name!r}{judged_alone} is not feasible"
    return NothingFeasibleError(
        message, hint=f"`autotune report {name}` shows why each one failed."
    )


def _end(record: TrialRecord) -> str:
    """Like "cut off (the study's time was over)"."""
    failure = record.outcome.failure
    verb = "cut off" if record.is_interrupted else "failed by no fault of the settings"
    return verb if failure is None else f"{verb} ({failure.message})"
