"""Seeds out of earlier studies: what was good there is tried first here."""

from collections.abc import Sequence

from autotune.analysis.pareto import pareto_front
from autotune.analysis.recommend import recommend
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, TrialRecord
from autotune.spec.study import StudySpec


def seeds_of(
    records: Sequence[TrialRecord], spec: StudySpec, *, most: int = 5
) -> tuple[Configuration, ...]:
    """The recommended configuration of an earlier study and some of its front.

    Args:
        records: Trials of the earlier study (of another release, card or model).
        spec: The new study: its objectives and preference decide what was good.
        most: How many at most; spread evenly over the front by the first objective.
    """
    try:
        first = recommend(records, spec).configuration
    except NothingFeasibleError:
        return ()
    tag = spec.objectives[0].metric
    front = sorted(pareto_front(records, spec.objectives), key=lambda r: r.metrics[tag] or 0.0)
    rest = [c for c in dict.fromkeys(r.configuration for r in front) if c != first]
    count = min(most - 1, len(rest))
    spread = [rest[round(i * (len(rest) - 1) / max(1, count - 1))] for i in range(count)]
    return tuple(dict.fromkeys([first, *spread]))
