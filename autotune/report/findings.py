"""Everything that a report says of a study, computed once by `analysis`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.analysis.comparable import Correction, corrected, is_speed
from autotune.analysis.costs import is_startup
from autotune.analysis.criteria import Criterion, success_criteria
from autotune.analysis.first_starts import first_start_text
from autotune.analysis.front import as_shown
from autotune.analysis.importance import Importance, importances
from autotune.analysis.measurements import baseline_of, over_repeats, repeats_of
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_of
from autotune.analysis.recommend import Recommendation, recommend
from autotune.analysis.spread import Spread, spread_of
from autotune.errors import NothingFeasibleError
from autotune.metrics import METRICS
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.report.bounds import whole_bytes
from autotune.report.tables import any_simulated
from autotune.spec.study import Preference, StudySpec

HEADLINES: Final = (
    "output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "goodput_requests_per_s",
    "ttft_short_ns",
    "ttft_loaded_p50_ns", "ttft_loaded_p99_ns", "itl_p50_ns", "itl_p99_ns", "ttft_8k_ns",
    "ttft_16k_ns", "ttft_32k_ns", "prefill_8k_tokens_per_s", "decode_8k_tokens_per_s",
    "context_capacity_tokens", "max_model_len_tokens", "prefix_speedup_ratio",
    "revisit_speedup_ratio", "startup_ns", "gpu_memory_peak_bytes", "host_memory_peak_bytes",
    "gpu_power_mean_w", "joules_per_output_token", "preemptions_count", "failed_requests_count",
    "perplexity_ratio", "needle_recall_ratio",
)  # fmt: skip
"""Metrics of the comparison with the baseline, in their order; the objectives go first."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study, analysed.

    Attributes:
        records: With figures that can be compared (`analysis.comparable`).
        recommendation: None if no trial is feasible.
        noise: Metric to its noise, for every metric of the comparison.
        importances: Objective's metric to the parameters that decide it.
        parameters: Names that took more than one value.
        corrections: What was scaled in the records.
        spreads: Of each objective that two configurations measured.
        first_start: What the first start of what is recommended lacks; empty if nothing.
        estimates: Metric to the trials whose figure is not theirs but computed: the capacity of a
            first start as that of a later one (`analysis.first_starts`).
    """

    spec: StudySpec
    records: tuple[TrialRecord, ...]
    baseline: TrialRecord | None
    recommendation: Recommendation | None
    criteria: tuple[Criterion, ...]
    noise: Mapping[str, Noise]
    importances: Mapping[str, tuple[Importance, ...]]
    parameters: tuple[str, ...]
    corrections: tuple[Correction, ...] = ()
    spreads: tuple[Spread, ...] = ()
    first_start: str = ""
    estimates: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether any figure is, or will be: a study without a trial has its engine already."""
        return any_simulated(self.records) or self.spec.engine.name == "simulated"

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the trials of the Pareto front."""
        return () if self.recommendation is None else self.recommendation.front

    @property
    def points(self) -> tuple[TrialRecord, ...]:
        """Each configuration that is a candidate, by the trial that stands for it.

        Its objectives are means over as many trials as `repeats` says.
        """
        found = () if self.recommendation is None else self.recommendation.points
        return tuple(as_shown(point, self.spec.objectives) for point in found)

    @property
    def repeats(self) -> Mapping[int, int]:
        """Number of the trial that stands for a configuration to the trials of its means."""
        found = () if self.recommendation is None else self.recommendation.points
        return {point.latest.number: len(point.records) for point in found}

    @property
    def plotted(self) -> tuple[TrialRecord, ...]:
        """What a scatter shows: each candidate once, by its means, and every other trial.

        But for those of a verification, which are judged by themselves.
        """
        points = self.points
        known = {point.configuration for point in points}
        own = (r for r in self.records if r.kind is not TrialKind.VERIFY)
        others = [r for r in own if not r.is_feasible or r.configuration not in known]
        return tuple(sorted((*points, *others), key=lambda r: r.number))

    def standing(self, record: TrialRecord | None) -> TrialRecord | None:
        """What stands for a trial's configuration in `plotted`; the trial where nothing does."""
        if record is None:
            return None
        same = (p for p in self.points if p.configuration == record.configuration)
        return next(same, record)

    @property
    def chosen(self) -> TrialRecord | None:
        """The trial that stands for the recommendation."""
        return None if self.recommendation is None else self.recommendation.record

    @property
    def headline_tags(self) -> tuple[str, ...]:
        """Objectives, then the other headline metrics."""
        return tuple(dict.fromkeys([*(o.metric for o in self.spec.objectives), *HEADLINES]))

    def trials_behind(self, record: TrialRecord, tag: str) -> tuple[TrialRecord, ...]:
        """Trials whose mean is a configuration's figure, the start-up's being one trial's own.

        A first start and a later one are not alike, and repeats hold both.
        """
        if tag in METRICS and is_startup(METRICS[tag]):
            return (record,)
        return repeats_of(self.records, record)

    def is_estimate(self, record: TrialRecord | None, tag: str) -> bool:
        """Whether a figure of a trial's configuration was computed, in part at least."""
        computed = self.estimates.get(tag, frozenset())
        return record is not None and any(
            r.number in computed for r in self.trials_behind(record, tag)
        )

    @property
    def estimated_points(self) -> Mapping[str, frozenset[int]]:
        """The same of `points`: metric to the numbers of those whose figure was computed."""
        points = () if self.recommendation is None else self.recommendation.points
        return {
            tag: frozenset(
                p.latest.number for p in points if any(r.number in computed for r in p.records)
            )
            for tag, computed in self.estimates.items()
        }

    def figure(self, record: TrialRecord | None, tag: str) -> float | None:
        """A metric of a trial's configuration, raw; None if it was not measured."""
        if record is None:
            return None
        return over_repeats(self.trials_behind(record, tag), record, tag)

    def floor(self, tag: str) -> float:
        """Smallest relative difference between the recommendation's mean and the baseline's."""
        sides = [() if record is None else self.trials_behind(record, tag)
                 for record in (self.chosen, self.baseline)]  # fmt: skip
        counts = [sum(r.metrics.get(tag) is not None for r in side) for side in sides]
        noise = self.noise.get(tag) or noise_of(self.records, tag)
        return noise.floor_of(*counts)

    def intervals(self) -> dict[str, tuple[float | None, float | None]]:
        """Metric to the 95% interval of the recommended configuration's figure."""
        if self.chosen is None:
            return {}
        found: dict[str, tuple[float | None, float | None]] = {}
        for tag, noise in self.noise.items():
            value = self.figure(self.chosen, tag)
            if value is not None and value > 0:
                repeats = sum(r.metrics.get(tag) is not None
                              for r in self.trials_behind(self.chosen, tag))  # fmt: skip
                reach = SIGNIFICANT * noise.relative_sd / math.sqrt(max(1, repeats))
                found[tag] = (value * math.exp(-reach), value * math.exp(reach))
        return found


def findings_of(
    spec: StudySpec,
    records: Sequence[TrialRecord],
    *,
    prefer: Preference | None = None,
    with_importances: bool = True,
) -> Findings:
    """Analyse a study; nothing feasible is a finding too.

    Args:
        spec: As resolved.
        records: Every trial, as measured.
        prefer: Another preference than the study's.
        with_importances: A forest per objective; whoever does not show them leaves them out.
    """
    measured, made = records, corrected(records, spec.objectives)
    records = made.records
    baseline = baseline_of(records)
    try:
        recommendation = recommend(records, spec, prefer)
    except NothingFeasibleError:
        recommendation = None
    criteria: tuple[Criterion, ...] = ()
    if recommendation is not None:
        environment = recommendation.record.environment
        criteria = success_criteria(
            records,
            spec,
            recommendation.record,
            baseline,
            gpu_memory_bytes=whole_bytes(environment.get("gpu_memory_bytes")),
            host_memory_bytes=whole_bytes(environment.get("host_memory_bytes")),
        )
    parameters = varied_parameters([record.configuration for record in records])
    tags = dict.fromkeys([*(o.metric for o in spec.objectives), *HEADLINES])
    found = (spread_of(records, o.metric) for o in spec.objectives)
    spreads = tuple(spread for spread in found if spread is not None)
    return Findings(
        spec=spec,
        records=tuple(records),
        baseline=baseline,
        recommendation=recommendation,
        criteria=criteria,
        noise={tag: noise_of(records, tag) for tag in tags},
        importances=_importances(spec, records, parameters, spreads) if with_importances else {},
        parameters=parameters,
        corrections=made.corrections,
        spreads=spreads,
        first_start=""
        if recommendation is None
        else first_start_text(measured, recommendation.configuration),
        estimates=estimates_of(measured, records),
    )


def estimates_of(
    measured: Sequence[TrialRecord], given: Sequence[TrialRecord]
) -> dict[str, frozenset[int]]:
    """Metric to the trials whose figure is another than the one measured, speeds left out.

    Those are given as on another machine, which a note says for all of them.

    Args:
        measured: Records as they were stored.
        given: The same trials in the same order, made comparable (`analysis.comparable`).
    """
    found: dict[str, set[int]] = {}
    for was, now in zip(measured, given, strict=True):
        for tag, value in now.metrics.items():
            if value is not None and value != was.metrics.get(tag) and not is_speed(tag):
                found.setdefault(tag, set()).add(now.number)
    return {tag: frozenset(numbers) for tag, numbers in found.items()}


def _importances(
    spec: StudySpec,
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    spreads: Sequence[Spread],
) -> dict[str, tuple[Importance, ...]]:
    noise = {spread.metric for spread in spreads if spread.is_noise}
    return {
        o.metric: () if o.metric in noise else importances(records, o, parameters)
        for o in spec.objectives
    }


def varied_parameters(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Parameters that took more than one value, "not set" counting as one."""
    names = dict.fromkeys(name for c in configurations for name, _ in c.items)
    return tuple(sorted(n for n in names if len({str(c.get(n)) for c in configurations}) > 1))
