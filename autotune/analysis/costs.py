"""What a configuration makes worse, among all that was measured.

Objectives say what is wanted; a setting can please them and spoil something that nobody named: a
repeated prefix that is no longer cached, a queue in front of the first token. The rule:

- what gets worse than the default's by a factor over `LARGE`, and clearly beyond the noise, counts
  in full: the objectives must gain more than it loses, or it is not recommended. Clearly: the worst
  of some forty figures looks bad by luck, so each is held to its share of the level (Bonferroni; a
  first token of 20 ms moves by a third from one start to the next);
- less than that counts with a minor weight, beyond the noise only;
- of each probe the worst counts, for the metrics of one probe tell of the same requests.

What gets better beside the objectives earns nothing against the default; between two that beat it,
what the one has and the other would lose by that factor decides (`analysis/beside.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scipy import special

from autotune.analysis.limits import mean_of
from autotune.analysis.measurements import logs_of
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_of
from autotune.analysis.ratios import shown_change
from autotune.metrics import METRICS, Direction, Metric, Unit, metric_named
from autotune.records import TrialRecord

LARGE: Final = 1.5
"""Factor over which something that got worse, beyond the noise, is a large harm of weight 1."""
HARM: Final = 0.2
"""Weight of harm under that factor: it must get worse five times as much as an objective gets
better to outweigh it."""
_FELT: Final = frozenset(
    {Unit.NS, Unit.TOKENS, Unit.TOKENS_PER_S, Unit.REQUESTS_PER_S, Unit.JOULES_PER_TOKEN}
)
"""Units of what a user waits for, gets or pays. Memory has its limits; hit rates and counts are
causes of what is felt."""
RESTATED: Final = frozenset(
    {
        "total_tokens_per_s", "requests_per_s",  # output_tokens_per_s at fixed lengths
        "prefill_8k_tokens_per_s", "prefill_16k_tokens_per_s", "prefill_32k_tokens_per_s",  # TTFT
    }
)  # fmt: skip
"""Metrics that say again what another one says."""
_GOODPUT: Final = "goodput_requests_per_s"
_FEW: Final = 0.05
"""Share of all requests under which those that kept the SLO are a handful: of 300 fewer than 15,
whose count alone moves by a quarter from one run to the next."""
LEVEL: Final = 0.025
"""Chance that luck alone makes one of the figures of a comparison a large harm."""
_MOST_ERRORS: Final = 4.0
"""Standard errors that are enough whatever the noise rests on."""
_LEAST: Final = 3
_GONE: Final = math.log(100.0)
"""What a rate that fell to nothing counts as: a logarithm has no place for zero."""


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


@dataclass(frozen=True, kw_only=True)
class _Harm:
    """How much worse a figure is, a logarithm, with its standard error."""

    worse: float
    error: float
    freedom: float

    @property
    def clear(self) -> float:
        """What the noise does to the worst of all figures that are compared, one time in forty."""
        count = sum(map(is_felt, METRICS.values()))
        return (
            min(_MOST_ERRORS, float(special.stdtrit(self.freedom, 1 - LEVEL / count))) * self.error
        )

    @property
    def is_large(self) -> bool:
        """Whether it is over the factor, and clearly so."""
        return self.worse > math.log(LARGE) and self.worse > self.clear

    @property
    def counted(self) -> float:
        """What it takes from a score: all of it where it is large, else a little."""
        if self.is_large:
            return self.worse
        return HARM * max(0.0, self.worse - SIGNIFICANT * self.error)


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

    def against(self, reference: Sequence[TrialRecord]) -> "Costs":
        """Harm against another reference, by the same noise."""
        made = Costs(reference, self._records, tuple(self._aside))
        made._noise = self._noise
        return made

    def penalty(self, trials: Sequence[TrialRecord]) -> float:
        """What harm takes from the score of a configuration, in its unit (a logarithm)."""
        worst: dict[str, float] = {}
        for metric in METRICS.values():
            if metric.tag not in self._aside and is_felt(metric):
                harm = self._harm(metric, trials)
                if harm is not None:
                    worst[metric.probe] = max(worst.get(metric.probe, 0.0), harm.counted)
        return math.fsum(worst.values())

    def ratios(self, trials: Sequence[TrialRecord]) -> Mapping[str, float]:
        """Metric to ratio against the reference, of what is worse beyond the noise.

        Objectives are among them. The worst comes first, by the size of the factor; a rate that
        fell to nothing has the ratio 0.
        """
        found = []
        for metric in METRICS.values():
            if is_felt(metric):
                harm = self._harm(metric, trials)
                if harm is not None and harm.worse > SIGNIFICANT * harm.error:
                    sign = 1.0 if metric.direction is Direction.LOWER else -1.0
                    is_gone = sign < 0 and _mean(trials, metric.tag) == 0
                    ratio = 0.0 if is_gone else math.exp(sign * harm.worse)
                    found.append((harm.worse, metric.tag, ratio))
        return {tag: ratio for _, tag, ratio in sorted(found, reverse=True)}

    def large(self, trials: Sequence[TrialRecord]) -> Mapping[str, float]:
        """Those of `ratios` beside the objectives that are large, and clearly beyond the noise."""
        return {
            tag: ratio
            for tag, ratio in self.ratios(trials).items()
            if tag not in self._aside and self._is_large(tag, trials)
        }

    def _is_large(self, tag: str, trials: Sequence[TrialRecord]) -> bool:
        harm = self._harm(METRICS[tag], trials)
        return harm is not None and harm.is_large

    def _harm(self, metric: Metric, trials: Sequence[TrialRecord]) -> "_Harm | None":
        """How much worse; None where it is not, or was not measured."""
        if not self._reference or trials is self._reference:
            return None
        mine, theirs = logs_of(trials, metric.tag), logs_of(self._reference, metric.tag)
        if not theirs or (metric.tag == _GOODPUT and self._keeps_few()):
            return None
        sign = 1.0 if metric.direction is Direction.LOWER else -1.0
        if sign < 0 and _mean(trials, metric.tag) == 0:
            return self._made(_GONE, metric.tag, 1, len(theirs))
        if not mine:
            return None
        worse = sign * (math.fsum(mine) / len(mine) - math.fsum(theirs) / len(theirs))
        if worse <= 0:
            return None
        return self._made(worse, metric.tag, len(mine), len(theirs))

    def _made(self, worse: float, tag: str, trials: int, others: int) -> "_Harm":
        if tag not in self._noise:
            self._noise[tag] = noise_of(self._records, tag)
        noise = self._noise[tag]
        error = noise.relative_sd * math.sqrt(1 / trials + 1 / others)
        return _Harm(worse=worse, error=error, freedom=noise.freedom)

    def _keeps_few(self) -> bool:
        """Whether hardly a request of the reference keeps the SLO."""
        kept, every = (_mean(self._reference, tag) for tag in (_GOODPUT, "requests_per_s"))
        return kept is not None and every is not None and kept < _FEW * every


def is_large(ratio: float) -> bool:
    """Whether a ratio is a change by more than the factor, in either direction."""
    return ratio <= 0 or abs(math.log(ratio)) > math.log(LARGE)


def told(ratios: Mapping[str, float], *, most: int | None = None) -> str:
    """What got worse, in one line and one order everywhere: the largest first.

    All that got worse by more than the factor are named, and of the rest as many as make it three;
    "and 4 more" counts the others.

    Args:
        ratios: Metric to ratio, in their order.
        most: How many are named where this line is one of many.
    """
    shown = max(_LEAST, sum(map(is_large, ratios.values()))) if most is None else most
    named = [f"{metric_named(t).title} {shown_change(r)}" for t, r in list(ratios.items())[:shown]]
    more = len(ratios) - shown
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _mean(trials: Sequence[TrialRecord], tag: str) -> float | None:
    values = [value for r in trials if (value := r.metrics.get(tag)) is not None]
    return mean_of(values) if values else None


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
