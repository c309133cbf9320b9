"""What one configuration loses beside the objectives, against another that beats the default too.

A setting can do a lot that no objective sees: an offload that brings documents back in a tenth of
a second. What gets better beside the objectives earns nothing against the default
(`analysis/costs.py`), so no configuration wins by it. Between two that beat the default it decides:
one that loses something against the other by a large factor, and gains little or nothing for it in
the objectives, is outdone by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.analysis.costs import Costs
from autotune.analysis.measurements import Measured
from autotune.metrics import metric_named
from autotune.records import TrialRecord

KEPT: Final = 0.9
"""Share of a configuration's lead over the default that another one must keep to outdo it."""


@dataclass(frozen=True, kw_only=True)
class Outdone:
    """By which other one, and what is lost against it.

    Attributes:
        losses: Metric to ratio against the other one; the worst first.
    """

    by: Measured
    losses: Mapping[str, float]


def outdone(
    candidates: Sequence[Measured], costs: Costs, may_outdo: Callable[[Measured, Measured], bool]
) -> dict[int, Outdone]:
    """Index of each candidate that loses something large against another one to that one.

    Only against one that loses nothing large in return. Where each of them is outdone by another
    one, nothing is told.

    Args:
        candidates: Those that beat the default; the first of them count as the better ones.
        costs: Tells what is worse beyond the noise.
        may_outdo: Whether the first one gives up little or nothing against the second in the
            objectives, and nothing else speaks against it.
    """
    found: dict[int, Outdone] = {}
    for index, one in enumerate(candidates):
        for other in candidates:
            if other is one or not may_outdo(other, one):
                continue
            losses = costs.against(other.records).large(one.records)
            if losses and not costs.against(one.records).large(other.records):
                found[index] = Outdone(by=other, losses=losses)
                break
    return found if len(found) < len(candidates) else {}


def losses(
    simpler: Sequence[TrialRecord], larger: Sequence[TrialRecord], costs: Costs
) -> Mapping[str, float]:
    """Metric to ratio of the simpler one against the larger one, of what is missed; worst first.

    Args:
        simpler: Trials of a configuration.
        larger: Trials of the one that has more settings.
        costs: Tells what is worse beyond the noise, and leaves the objectives aside: they count
            in the score.
    """
    return costs.against(larger).large(simpler)


def harms_beside(
    simpler: Sequence[TrialRecord],
    larger: Sequence[TrialRecord],
    costs: Costs,
    aside: Sequence[str],
) -> Mapping[str, float]:
    """Metric to ratio of what the simpler one makes worse beyond the noise; worst first.

    The worst of each kind of figure of a probe, by the first word of their tags (`revisit`,
    `prefix`, `ttft`): such metrics tell of the same requests. The arguments are those of `losses`,
    and the objectives.
    """
    worst: dict[tuple[str, str], str] = {}
    ratios = costs.against(larger).ratios(simpler)
    for tag in ratios:
        if tag not in aside:
            worst.setdefault((metric_named(tag).probe, tag.partition("_")[0]), tag)
    return {tag: ratios[tag] for tag in worst.values()}
