"""What a configuration makes worse, among all that was measured.

Objectives say what is wanted; a setting can please them and spoil something that nobody named: a
repeated prefix that is no longer cached, a queue in front of the first token. Such harm enters the
score with a minor weight, beyond the noise only, the worst metric of each probe once, for the
metrics of one probe tell of the same requests. What gets better beside the objectives earns
nothing; a setting without which it would be lost again is kept (`analysis/beside.py`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from autotune.analysis.measurements import logs_of
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_of
from autotune.metrics import METRICS, Direction, Metric, Unit
from autotune.records import TrialRecord

HARM: Final = 0.2
"""Weight of harm: something must get worse five times as much as an objective gets better to
outweigh it (capacity a sixth larger does not pay for a first token that takes twice as long
and more)."""
_FELT: Final = frozenset(
    {Unit.NS, Unit.TOKENS, Unit.TOKENS_PER_S, Unit.REQUESTS_PER_S, Unit.JOULES_PER_TOKEN}
)
"""Units of what a user waits for, gets or pays. Memory has its limits; hit rates and counts are
causes of what is felt."""
RESTATED: Final = frozenset(
    {
        "total_tokens_per_s", "requests_per_s",  # output_tokens_per_s at fixed lengths
        "goodput_requests_per_s",  # TTFT and inter-token latency, as a step at the SLO
        "prefill_8k_tokens_per_s", "prefill_16k_tokens_per_s", "prefill_32k_tokens_per_s",  # TTFT
    }
)  # fmt: skip
"""Metrics that say again what another one says."""


def is_felt(metric: Metric) -> bool:
    """Whether a metric can be harmed: one that a request feels, or the answers' quality.

    A start-up is felt once, and depends on what was compiled before.
    """
    if metric.direction is Direction.NEITHER or metric.tag in RESTATED:
        return False
    if metric.probe == "correctness":
        return metric.unit is Unit.RATIO
    return metric.unit in _FELT and not is_startup(metric)


def is_startup(metric: Metric) -> bool:
    """Whether it tells of the start."""
    return metric.probe == "startup" and metric.unit is Unit.NS


class Costs:
    """Harm against a reference.

    Args:
        reference: Trials of what is compared with; none gives no harm.
        records: Every trial; their repeats tell each metric's noise.
        aside: Metrics that count elsewhere: the objectives.
    """

    def __init__(
        self,
        reference: Sequence[TrialRecord],
        records: Sequence[TrialRecord],
        aside: Sequence[str] = (),
    ) -> None:
        self._reference, self._records, self._aside = reference, records, frozenset(aside)
        self._noise: dict[str, Noise] = {}

    def penalty(self, trials: Sequence[TrialRecord]) -> float:
        """What harm takes from the score of a configuration, in its unit (a logarithm)."""
        worst: dict[str, float] = {}
        for metric in METRICS.values():
            if metric.tag not in self._aside and is_felt(metric):
                harm = self._harm(metric, trials)
                if harm is not None:
                    beyond = max(0.0, harm[0] - harm[1])
                    worst[metric.probe] = max(worst.get(metric.probe, 0.0), beyond)
        return HARM * math.fsum(worst.values())

    def ratios(self, trials: Sequence[TrialRecord]) -> Mapping[str, float]:
        """Metric to ratio against the reference, of what is worse beyond the noise.

        Objectives are among them. The worst comes first.
        """
        found = []
        for metric in METRICS.values():
            if is_felt(metric):
                harm = self._harm(metric, trials)
                if harm is not None and harm[0] > harm[1]:
                    sign = 1.0 if metric.direction is Direction.LOWER else -1.0
                    found.append((harm[0], metric.tag, math.exp(sign * harm[0])))
        return {tag: ratio for _, tag, ratio in sorted(found, reverse=True)}

    def _harm(self, metric: Metric, trials: Sequence[TrialRecord]) -> tuple[float, float] | None:
        """How much worse (a logarithm), and what the noise could have done."""
        mine, theirs = logs_of(trials, metric.tag), logs_of(self._reference, metric.tag)
        if not mine or not theirs or trials is self._reference:
            return None
        sign = 1.0 if metric.direction is Direction.LOWER else -1.0
        worse = sign * (math.fsum(mine) / len(mine) - math.fsum(theirs) / len(theirs))
        if worse <= 0:
            return None
        if metric.tag not in self._noise:
            self._noise[metric.tag] = noise_of(self._records, metric.tag)
        error = self._noise[metric.tag].relative_sd * math.sqrt(1 / len(mine) + 1 / len(theirs))
        return worse, SIGNIFICANT * error


def unlike(
    records: Sequence[TrialRecord], chosen: TrialRecord, baseline: TrialRecord | None
) -> tuple[str, ...]:
    """Metrics of two trials that must not be held against each other: those of the start-up.

    A configuration that was started before finds its kernels compiled and the weights in the page
    cache. A first start may find them too, compiled for another configuration that shares the
    graph, and nobody can tell: so only two later starts are alike.
    """
    if baseline is None or chosen.number == baseline.number:
        return ()
    if is_later_start(records, chosen) and is_later_start(records, baseline):
        return ()
    return tuple(metric.tag for metric in METRICS.values() if is_startup(metric))


def is_later_start(records: Sequence[TrialRecord], record: TrialRecord) -> bool:
    """Whether its configuration had been started before in this study."""
    return any(
        r.number < record.number
        and r.configuration == record.configuration
        and r.metrics.get("startup_ns") is not None
        for r in records
    )
