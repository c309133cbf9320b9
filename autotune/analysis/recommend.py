"""One configuration out of the front, with a reason for each of its settings.

Gains are logarithms of ratios to the baseline, signed so that more is better, weighted by the
study's preference. A candidate within the noise of the best one with fewer overrides beats it; if
the default is within the noise of the best, the answer is the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from autotune.analysis.ablation import untested_notice
from autotune.analysis.costs import told, unlike
from autotune.analysis.decision import Decision, decide
from autotune.analysis.default_name import OWN, default_name, repaired
from autotune.analysis.front import on_front, points_of
from autotune.analysis.measurements import Measured, differences
from autotune.analysis.passed_over import Forgone, PassedOver, Passing
from autotune.analysis.ratios import shown_change
from autotune.analysis.reasons import Refusal, no_refusal, reasons_of
from autotune.analysis.setting_reason import Basis, SettingReason, Shown
from autotune.metrics import metric_named
from autotune.records import Configuration, Scalar, TrialRecord
from autotune.spec.space import space_from
from autotune.spec.study import Preference, StudySpec

_MOST_NAMES: Final = 3
"""Unproven settings of a kind that the sentence on them names; each has its own reason too."""

__all__ = ["Basis", "Recommendation", "SettingReason", "differences", "recommend"]


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer of a study.

    Attributes:
        record: The trial that stands for it.
        baseline: What it is compared with; None if the baseline was never measured. Where the
            default broke a memory bound, the default with a lower `gpu_memory_utilization`.
        keep_default: Whether nothing beats the default beyond the noise.
        gains: Objective to ratio against the baseline, raw (a lower latency is under 1).
        intervals: Objective to the 95% interval of that ratio.
        proved: Whether it rests on repeats that were deployed for this, beside the baseline's.
        detectable: Objective to the smallest relative effect the study could have told from
            noise.
        front: Of each configuration on the front, by the means over its trials, the number of the
            trial that stands for it.
        default_name: What the baseline is called in a sentence.
        points: Every configuration by the trials that its shown figures are means of.
        passed: Why each configuration of the front, and each that was proved, is not what is
            recommended.
        forgone: Of each objective the best that was measured and not taken.
        unproven: A sentence on the settings that nothing shows to help; empty where there are none.
        costs: Metric to ratio against the baseline, of everything that a request feels and that
            is worse beyond the noise; the worst first.
        unlike: Metrics of `record` that must not be held against the baseline's: of the start-up,
            where one was started for the first time and the other was not.
        repaired: What was set in the default to keep within the memory bounds; empty where it
            needs nothing.
    """

    record: TrialRecord
    baseline: TrialRecord | None
    keep_default: bool
    reason: str
    settings: tuple[SettingReason, ...]
    gains: Mapping[str, float]
    detectable: Mapping[str, float]
    front: tuple[int, ...]
    prefer: Preference
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    proved: bool = False
    costs: Mapping[str, float] = field(default_factory=dict)
    unlike: tuple[str, ...] = ()
    repaired: Mapping[str, Scalar] = field(default_factory=dict)
    default_name: str = OWN
    points: tuple[Measured, ...] = ()
    passed: tuple[PassedOver, ...] = ()
    forgone: tuple[Forgone, ...] = ()
    unproven: str = ""

    @property
    def configuration(self) -> Configuration:
        """What is recommended."""
        return self.record.configuration


def recommend(
    records: Sequence[TrialRecord], spec: StudySpec, prefer: Preference | None = None
) -> Recommendation:
    """Choose by the study's preference, or by another one without a new trial.

    Raises:
        NothingFeasibleError: If no trial kept every limit.
    """
    prefer = prefer or spec.prefer
    decision = decide(records, spec, prefer)
    chosen, chooser, baseline = decision.chosen, decision.chooser, decision.baseline
    points = points_of(decision.everything, spec.objectives)
    front = on_front(points, spec.objectives)
    passing = Passing(decision, spec.objectives, prefer, records)
    proved = {m.configuration for m in decision.candidates} if decision.proved else set()
    asked = {point.configuration for point in front} | proved
    forgone = passing.forgone(points)
    settings = reasons_of(records, spec.objectives, decision, refusal=_refusal(spec))
    unproven = _unproven_text(decision, settings, spec)
    return Recommendation(
        record=chosen.latest,
        baseline=baseline,
        keep_default=decision.keeps_default,
        reason=_reason(decision, prefer, records, forgone, settings)
        + (f". {unproven}" if unproven else ""),
        unproven=unproven,
        settings=settings,
        gains=chooser.gains(chosen),
        detectable=chooser.detectable(),
        front=tuple(point.latest.number for point in front),
        prefer=prefer,
        intervals=chooser.intervals(chosen),
        proved=decision.proved,
        costs=decision.costs.ratios(chosen.records),
        unlike=unlike(records, chosen.latest, baseline),
        repaired=repaired(records, baseline),
        default_name=default_name(records, baseline),
        points=points,
        passed=passing.over([p for p in points if p.configuration in asked]),
        forgone=forgone,
    )


def _refusal(spec: StudySpec) -> Refusal:
    """Why the study's own space does not allow a configuration; a study names it or holds it."""
    if isinstance(spec.space, str):
        return no_refusal
    return space_from(spec.space, where=f"study {spec.name}: space").refusal


def _reason(
    decision: Decision,
    prefer: Preference,
    records: Sequence[TrialRecord],
    forgone: Sequence[Forgone],
    settings: Sequence[SettingReason],
) -> str:
    """Why it was chosen, one line."""
    chooser, chosen = decision.chooser, decision.chosen
    if chooser.baseline is None:
        why = _why_infeasible(decision.baseline)
        return f"best {prefer} score among the feasible trials; {why}"
    default = default_name(records, decision.baseline)
    if decision.keeps_default and forgone:
        return (
            f"keep {default}: nothing measured is shown to be better by the {prefer} score. "
            f"{forgone_text(forgone)}"
        )
    if decision.keeps_default:
        least = ", ".join(
            f"{metric_named(tag).title} {share:.1%}" for tag, share in chooser.detectable().items()
        )
        return (
            f"nothing measured beats the default beyond the noise: keep {default}. "
            f"A difference of this much would have counted: {least}"
        )
    gains = ", ".join(_change(tag, ratio) for tag, ratio in chooser.gains(chosen).items())
    against = "" if default == OWN else f" against {default}"
    costs = decision.costs.ratios(chosen.records)
    worse = f"; worse beyond the noise: {told(costs)}" if costs else ""
    passed = f". {forgone_text(forgone)}" if forgone else ""
    # Without what may change nothing there would be fewer, and nobody measured that.
    is_bare = all(setting.basis is not Basis.IDLE for setting in settings)
    is_tested = decision.proved or not _unproven(decision, settings)
    fewest = ", with the fewest changes among equals" if is_bare and is_tested else ""
    if fewest and chosen.configuration != decision.fewest.configuration:
        fewest += " that lose nothing beside the objectives"
    return f"best {prefer} score{fewest}: {gains}{against}{worse}{passed}"


def _unproven(decision: Decision, settings: Sequence[SettingReason]) -> list[SettingReason]:
    """Settings of the recommendation that change something and that nothing shows to help."""
    if decision.keeps_default:
        return []
    return [s for s in settings if s.shown in {Shown.NOTHING, Shown.COST, Shown.UNKNOWN}]


def _unproven_text(decision: Decision, settings: Sequence[SettingReason], spec: StudySpec) -> str:
    """A sentence that names them, and why they were not tested where the budget is the cause."""
    unproven = _unproven(decision, settings)
    if not unproven:
        return ""
    kinds = (
        ("not shown to help, at a cost", [s for s in unproven if s.shown is Shown.COST]),
        ("not shown to help", [s for s in unproven if s.shown is Shown.NOTHING]),
        ("not measured alone", [s for s in unproven if s.shown is Shown.UNKNOWN]),
    )
    texts = "; ".join(f"{kind}: {_named(group)}" for kind, group in kinds if group)
    texts = texts[:1].upper() + texts[1:]
    why = untested_notice(spec).partition(" to ")[0]
    return texts + (f" ({why} to test it)" if why else "")


def _named(settings: Sequence[SettingReason]) -> str:
    """A few of them, each at a cost with the largest one."""
    names = [
        s.parameter + (f" ({told(s.costs, most=1)})" if s.shown is Shown.COST else "")
        for s in settings[:_MOST_NAMES]
    ]
    more = len(settings) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def forgone_text(forgone: Sequence[Forgone]) -> str:
    """What was measured better and is not recommended, with the rule that passed it over."""
    named = "; ".join(
        f"{_change(f.metric, f.ratio)} (trial {f.passed.number}: {f.passed.text})" for f in forgone
    )
    return f"Better was measured and not taken: {named}"


def _change(tag: str, ratio: float) -> str:
    return f"{metric_named(tag).title} {shown_change(ratio)}"


def _why_infeasible(baseline: TrialRecord | None) -> str:
    if baseline is None:
        return "the baseline was not measured"
    failure = baseline.outcome.failure
    return f"the default is none of them: {failure.message if failure else 'not measured whole'}"
