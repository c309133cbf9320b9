"""Everything that a report says of a study, computed once by `analysis`."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autotune.analysis.comparable import Correction, comparable, corrections
from autotune.analysis.costs import is_startup
from autotune.analysis.criteria import Criterion, Verdict, success_criteria
from autotune.analysis.front import as_shown
from autotune.analysis.measurements import baseline_of, over_repeats, repeats_of
from autotune.analysis.noise import SIGNIFICANT, Noise, noise_of
from autotune.analysis.recommend import Recommendation, forgone_text, recommend
from autotune.errors import NothingFeasibleError
from autotune.metrics import METRICS
from autotune.records import Configuration, TrialRecord
from autotune.report.bounds import whole_bytes
from autotune.report.quantities import change, display, in_sentence, readable, title
from autotune.report.tables import any_simulated, criterion_title, outcome_text
from autotune.spec.study import Objective, Preference, StudySpec

if TYPE_CHECKING:
    from autotune.analysis.importance import Importance

HEADLINES: Final = (
    "output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "ttft_short_ns",
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
    """

    spec: StudySpec
    records: tuple[TrialRecord, ...]
    baseline: TrialRecord | None
    recommendation: Recommendation | None
    criteria: tuple[Criterion, ...]
    noise: Mapping[str, Noise]
    importances: "Mapping[str, tuple[Importance, ...]]"
    parameters: tuple[str, ...]
    corrections: tuple[Correction, ...] = ()

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
        """What a scatter shows: each candidate once, by its means, and every other trial."""
        points = self.points
        known = {point.configuration for point in points}
        others = [r for r in self.records if not r.is_feasible or r.configuration not in known]
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
        return self.noise[tag].floor_of(*counts)

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
        with_importances: Their forests take seconds; a page that is drawn again and again
            leaves them out.
    """
    corrected = corrections(records, spec.objectives)
    records = comparable(records, spec.objectives)
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
    return Findings(
        spec=spec,
        records=tuple(records),
        baseline=baseline,
        recommendation=recommendation,
        criteria=criteria,
        noise={tag: noise_of(records, tag) for tag in tags},
        importances=_importances(spec, records, parameters) if with_importances else {},
        parameters=parameters,
        corrections=corrected,
    )


def _importances(
    spec: StudySpec, records: Sequence[TrialRecord], parameters: Sequence[str]
) -> "dict[str, tuple[Importance, ...]]":
    # scikit-learn takes two seconds to import, which no other command should pay.
    from autotune.analysis.importance import importances  # noqa: PLC0415

    return {o.metric: importances(records, o, parameters) for o in spec.objectives}


def varied_parameters(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Parameters that took more than one value, "not set" counting as one."""
    names = dict.fromkeys(name for c in configurations for name, _ in c.items)
    return tuple(sorted(n for n in names if len({str(c.get(n)) for c in configurations}) > 1))


def verdict(findings: Findings) -> tuple[str, str]:
    """What was found, and how sure it is: a sentence each."""
    chosen = findings.recommendation
    if chosen is None:
        return _nothing(findings)
    if chosen.keep_default:
        first = f"Keep {chosen.default_name}: {_kept(chosen)}."
    else:
        first = f"Serve the configuration of trial {chosen.record.number}: {_gains(findings)}."
    parts = (
        f"{capital(readable(forgone_text(chosen.forgone)))}." if chosen.forgone else "",
        _criteria(findings.criteria),
        _certainty(findings, findings.spec.objectives),
        _baseline(findings.baseline),
        *(f"{capital(str(correction))}." for correction in findings.corrections),
    )
    return first, " ".join(part for part in parts if part)


def _kept(chosen: Recommendation) -> str:
    """Why the default stays, as far as the records say it."""
    if chosen.forgone:
        return f"nothing measured is shown to be better by the {chosen.prefer} score"
    return "nothing measured beats them beyond the noise"


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def _gains(findings: Findings) -> str:
    """The objectives that got better, at the cost of those that got worse; then the rest."""
    changed: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for objective in findings.spec.objectives:
        tag = objective.metric
        value = findings.figure(findings.chosen, tag)
        other = findings.figure(findings.baseline, tag)
        text = f"{in_sentence(title(tag))} {display(tag, value)}"
        if value is None or not other:
            changed.append(text)
        elif value > 0 and abs(math.log(value / other)) < findings.floor(tag):
            same.append(text)
        else:
            better = (value > other) == (objective.direction == "maximize")
            told = f"{text} ({change(value, other)} against the baseline)"
            (changed if better else worse).append(told)
    told = ", ".join(changed)
    if worse:
        cost = " and ".join(worse)
        told = f"{told}, at the cost of {cost}" if told else cost
    if not same:
        return told
    verb = "is" if len(same) == 1 else "are"
    rest = f"{' and '.join(same)} {verb} within the noise of the baseline's"
    return f"{told}; {rest}" if told else rest


def _criteria(criteria: Sequence[Criterion]) -> str:
    if not criteria:
        return ""
    names = {verdict: [in_sentence(criterion_title(c)) for c in criteria if c.verdict is verdict]
             for verdict in Verdict}  # fmt: skip
    met = len(names[Verdict.MET])
    parts = [
        f"{word}: {', '.join(names[state])}"
        for state, word in ((Verdict.NOT_MET, "not met"), (Verdict.NOT_MEASURED, "not measured"))
        if names[state]
    ]
    return f"{met} of {len(criteria)} criteria are met" + (
        f" ({'; '.join(parts)});" if parts else ";"
    )


def _certainty(findings: Findings, objectives: Sequence[Objective]) -> str:
    noises = [findings.noise[o.metric] for o in objectives]
    worst = max(findings.floor(o.metric) for o in objectives)
    basis = (
        "by repeated measurements"
        if any(noise.repeats for noise in noises)
        else "assumed, for the study itself measured no configuration twice"
    )
    return f"differences under {worst * 100:.0f}% cannot be told from noise here ({basis})."


def _baseline(baseline: TrialRecord | None) -> str:
    """What must be said of the baseline: that it is missing, or breaks a limit itself."""
    if baseline is None:
        return "The baseline was not measured, so there is nothing to compare with."
    failure = baseline.outcome.failure
    return "" if failure is None else f"The baseline itself is no choice: {failure.message}."


def _nothing(findings: Findings) -> tuple[str, str]:
    kinds = Counter(
        outcome_text(r.outcome) for r in findings.records if r.outcome.failure is not None
    )
    if not kinds:
        return "No trial has ended yet.", ""
    kind, count = kinds.most_common(1)[0]
    return (
        f"None of the {len(findings.records)} trials kept every limit.",
        f"The commonest end, {count} times: {kind}.",
    )
