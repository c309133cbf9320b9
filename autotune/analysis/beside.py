"""What a simpler configuration loses beside the objectives, against what it was made of.

Ablation takes away what no objective needs. A setting can do a lot that no objective sees: an
offload that brings documents back in a tenth of a second. What gets better beside the objectives
earns nothing in the score (`analysis/costs.py`), so no configuration wins by it; but what a winner
has and its remainder would lose by a clear factor is kept.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from autotune.analysis.choice import Chooser
from autotune.analysis.costs import Costs
from autotune.analysis.measurements import Measured, differences
from autotune.analysis.pairs import with_values_of
from autotune.metrics import metric_named
from autotune.records import Configuration, TrialRecord

MISSED: Final = 1.5
"""Factor by which something must get worse, and beyond the noise, to be missed."""


def losses(
    simpler: Sequence[TrialRecord],
    larger: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    aside: Sequence[str],
) -> Mapping[str, float]:
    """Metric to ratio of the simpler one against the larger one, of what is missed; worst first.

    Args:
        simpler: Trials of a configuration.
        larger: Trials of the one that has more settings.
        records: Every trial; their repeats tell the noise.
        aside: The objectives: they count in the score.
    """
    ratios = Costs(larger, records).ratios(simpler)
    return {
        tag: ratio
        for tag, ratio in ratios.items()
        if tag not in aside and abs(math.log(ratio)) > math.log(MISSED)
    }


def harms_beside(
    simpler: Sequence[TrialRecord],
    larger: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    aside: Sequence[str],
) -> Mapping[str, float]:
    """Metric to ratio of what the simpler one makes worse beyond the noise; worst first.

    The worst of each kind of figure of a probe, by the first word of their tags (`revisit`,
    `prefix`, `ttft`): such metrics tell of the same requests. The arguments are those of `losses`.
    """
    worst: dict[tuple[str, str], str] = {}
    ratios = Costs(larger, records).ratios(simpler)
    for tag in ratios:
        if tag not in aside:
            worst.setdefault((metric_named(tag).probe, tag.partition("_")[0]), tag)
    return {tag: ratios[tag] for tag in worst.values()}


def nothing_missed(
    chosen: Measured,
    chooser: Chooser,
    records: Sequence[TrialRecord],
    aside: Sequence[str],
) -> Measured:
    """The choice, or the rival that it is the remainder of and that it loses something against."""
    baseline = chooser.baseline
    if baseline is None or chooser.is_baseline(chosen):
        return chosen
    rivals = sorted(chooser.rivals(), key=lambda c: len(c.configuration.items))
    for rival in rivals:
        if _is_remainder(
            chosen.configuration, rival.configuration, baseline.configuration
        ) and losses(chosen.records, rival.records, records, aside):
            return nothing_missed(rival, chooser, records, aside)
    return chosen


def _is_remainder(one: Configuration, larger: Configuration, reference: Configuration) -> bool:
    """Whether a configuration is what is left of another one with settings put back."""
    removed = differences(larger, one)
    return bool(removed) and one == with_values_of(larger, removed, reference)
