"""The study's success criteria: met, not met, or not measured, each with its figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autotune.analysis.measurements import PROVING, over_repeats
from autotune.records import FailureKind, TrialKind, TrialRecord
from autotune.spec.study import StudySpec

THROUGHPUT: Final = "output_tokens_per_s"
TTFT_8K: Final = "ttft_8k_ns"
DEFAULT_TTFT_BOUND_NS: Final = 2e9
"""TTFT at 8K where the study sets no limit of its own."""


class Verdict(StrEnum):
    """How a criterion came out."""

    MET = "met"
    NOT_MET = "not met"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion.

    Attributes:
        name: "stability", "throughput", "ttft_8k", "gpu_memory", "host_memory".
        metric: The metric that decides it.
        value: What was measured, raw; a ratio for throughput.
        bound: What it is held against, in the same unit; None if no bound is known.
        figures: Raw figures behind it, by name.
    """

    name: str
    verdict: Verdict
    metric: str
    value: float | None = None
    bound: float | None = None
    figures: tuple[tuple[str, float | None], ...] = ()
    text: str = ""


def success_criteria(
    records: Sequence[TrialRecord],
    spec: StudySpec,
    chosen: TrialRecord,
    baseline: TrialRecord | None,
    *,
    gpu_memory_bytes: int | None = None,
    host_memory_bytes: int | None = None,
) -> tuple[Criterion, ...]:
    """Hold the recommended configuration against what the study wanted.

    Args:
        records: Every trial of the study.
        spec: Its limits, headroom and wanted gain.
        chosen: The trial that stands for the recommendation.
        baseline: What throughput is compared with.
        gpu_memory_bytes: What the GPU has; the bound is that less the study's headroom.
        host_memory_bytes: What the machine has.
    """
    gib = 1024**3
    return (
        _stability(records, chosen),
        _throughput(records, chosen, baseline, spec.throughput_gain),
        _ttft(records, chosen, spec),
        _memory("gpu_memory", chosen, gpu_memory_bytes, spec.headroom.gpu_gib * gib),
        _memory("host_memory", chosen, host_memory_bytes, spec.headroom.host_gib * gib),
    )


def _stability(records: Sequence[TrialRecord], chosen: TrialRecord) -> Criterion:
    """No out-of-memory and no crash in any trial of the configuration, no request failed."""
    same = [r for r in records if r.configuration == chosen.configuration]
    ours = {
        FailureKind.INTERRUPTED,
        FailureKind.KILLED_FROM_OUTSIDE,
        FailureKind.DEPLOYER_FAULT,
        FailureKind.AUTOTUNE_FAULT,
    }
    broken = [
        r for r in same if r.outcome.failure is not None and r.outcome.failure.kind not in ours
    ]
    failed = chosen.metrics.get("failed_requests_count")
    if failed is None and not broken:
        verdict = Verdict.NOT_MEASURED
    else:
        verdict = Verdict.NOT_MET if broken or failed else Verdict.MET
    proving = sum(record.kind in PROVING for record in same)
    told = f", {proving} of them to prove it" if 0 < proving < len(same) else ""
    verified = sum(record.kind is TrialKind.VERIFY for record in same)
    told += f", {verified} of them by `autotune verify`" if verified else ""
    return Criterion(
        name="stability",
        verdict=verdict,
        metric="failed_requests_count",
        value=failed,
        bound=0.0,
        figures=(("trials", float(len(same))), ("broken", float(len(broken)))),
        text=f"{_ran(len(same) - len(broken), len(same))}{told}",
    )


def _ran(whole: int, trials: int) -> str:
    """How many trials of a configuration ran to their end, a part of a sentence."""
    if trials == 1:
        return "its one trial ran to its end" if whole else "its one trial did not run to its end"
    return f"{whole} of {trials} trials of it ran to their end"


def _throughput(
    records: Sequence[TrialRecord], chosen: TrialRecord, baseline: TrialRecord | None, gain: float
) -> Criterion:
    mine = over_repeats(records, chosen, THROUGHPUT)
    theirs = None if baseline is None else over_repeats(records, baseline, THROUGHPUT)
    figures = (("chosen", mine), ("baseline", theirs))
    if mine is None or not theirs:
        return Criterion(
            name="throughput",
            verdict=Verdict.NOT_MEASURED,
            metric=THROUGHPUT,
            bound=gain,
            figures=figures,
            text="the baseline was not measured" if mine is not None else "was not measured",
        )
    ratio = mine / theirs
    return Criterion(
        name="throughput",
        verdict=Verdict.MET if ratio > gain else Verdict.NOT_MET,
        metric=THROUGHPUT,
        value=ratio,
        bound=gain,
        figures=figures,
        text=f"{ratio:.2f} times the baseline, wanted more than {gain:g}",
    )


def _ttft(records: Sequence[TrialRecord], chosen: TrialRecord, spec: StudySpec) -> Criterion:
    value = over_repeats(records, chosen, TTFT_8K)
    uppers = [x.upper for x in spec.limits if x.metric == TTFT_8K and x.upper is not None]
    bound = min(uppers, default=DEFAULT_TTFT_BOUND_NS)
    return Criterion(
        name="ttft_8k", verdict=_under(value, bound), metric=TTFT_8K, value=value, bound=bound
    )


def _memory(
    name: str, chosen: TrialRecord, total_bytes: int | None, headroom_bytes: float
) -> Criterion:
    metric = f"{name}_peak_bytes"
    value = chosen.metrics.get(metric)
    bound = None if total_bytes is None else total_bytes - headroom_bytes
    return Criterion(
        name=name,
        verdict=Verdict.NOT_MEASURED if bound is None else _under(value, bound),
        metric=metric,
        value=value,
        bound=bound,
        figures=(("headroom_bytes", headroom_bytes),),
    )


def _under(value: float | None, bound: float) -> Verdict:
    if value is None:
        return Verdict.NOT_MEASURED
    return Verdict.MET if value <= bound else Verdict.NOT_MET
