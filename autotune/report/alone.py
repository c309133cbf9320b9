"""What is said of a study in which nothing but the default could run."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from autotune.analysis.measurements import UTILIZATION, differences
from autotune.records import FailureKind, OutcomeStatus, TrialKind, TrialRecord
from autotune.report.findings import Findings
from autotune.report.quantities import trials_text

_GPU: Final = (
    "Lower values of gpu_memory_utilization in the space, or a lower headroom.gpu_gib, give room."
)
_HOST: Final = "Smaller values of kv_offload_gib, or a lower headroom.host_gib, give room."
_BOUNDS: Final = frozenset({FailureKind.MEMORY_LIMIT, FailureKind.LIMIT_MISSED})


def nothing_else_ran(findings: Findings) -> str:
    """That nothing but the default could run, by how little, and what helps; else empty."""
    baseline = findings.baseline
    if baseline is None or not baseline.is_feasible:
        return ""
    others = _others(findings.records, baseline)
    if not others or any(record.is_feasible for record in others):
        return ""
    ends = Counter(_end(record) for record in others)
    told = ", ".join(f"{end}: {count}" for end, count in ends.most_common())
    nearest = _nearest(others)
    count = trials_text(len(others))
    text = f"nothing but the default could run: of {count} of anything else none did ({told})"
    if nearest is not None:
        short, record = nearest
        text += f"; the nearest, trial {record.number}, was {short:.2f} GiB short"
    about = others[-1] if nearest is None else nearest[1]
    return f"{text}. {_help(about, findings.spec.name)}"


def _others(records: Sequence[TrialRecord], baseline: TrialRecord) -> list[TrialRecord]:
    """Trials that say something of another configuration than the default and its repairs."""
    asked = [r for r in records if r.kind is TrialKind.BASELINE]
    defaults = {baseline.configuration, *(r.configuration for r in asked)}
    return [
        r
        for r in records
        if r.outcome.status is not OutcomeStatus.FAILED
        and r.configuration not in defaults
        and not _is_lowered(r, asked)
    ]


def _is_lowered(record: TrialRecord, asked: Sequence[TrialRecord]) -> bool:
    """Whether a trial is a step down from the default that was still over its bound."""
    return record.kind is TrialKind.REPAIR and any(
        differences(record.configuration, r.configuration) == (UTILIZATION,) for r in asked
    )


def _end(record: TrialRecord) -> str:
    failure = record.outcome.failure
    kind = record.outcome.status.value if failure is None else failure.kind.value
    return kind.replace("_", " ")


def _nearest(records: Sequence[TrialRecord]) -> tuple[float, TrialRecord] | None:
    """The trial that fell short by least, and the GiB; None where no figure tells."""
    found = []
    for record in records:
        failure = record.outcome.failure
        if failure is not None and failure.margin_gib is not None and failure.margin_gib < 0:
            found.append((-failure.margin_gib, record))
    return min(found, key=lambda pair: pair[0], default=None)


def _help(record: TrialRecord, study: str) -> str:
    failure = record.outcome.failure
    said = "" if failure is None else failure.message.lower()
    if "host" in said or "shared memory" in said:
        return _HOST
    is_bound = "headroom" in said or (failure is not None and failure.kind in _BOUNDS)
    return _GPU if "gpu" in said and is_bound else f"`autotune report {study}` shows why."
