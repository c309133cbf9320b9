"""Exported files held against the default and against the study: pure functions of records.

Everything is compared as logarithms of ratios. The variance of a metric between two starts is
that of the study (`analysis.noise`, which draws it towards an assumed value) and of the
verification's own repeats, pooled with their degrees of freedom.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import geometric_mean
from typing import Final

from autotune.analysis.comparable import comparable
from autotune.analysis.first_starts import as_later_starts, first_starts_of
from autotune.analysis.measurements import baseline_of, repeats_of
from autotune.analysis.noise import Noise, noise_of
from autotune.cli.verify.ratios import Ratio, Spread
from autotune.cli.verify.rounds import DEFAULT, EXPORTED, by_arm
from autotune.records import Configuration, Failure, TrialKind, TrialRecord
from autotune.spec.study import StudySpec

LEVEL: Final = 0.05
"""Two-sided level of an interval, and of the verdict over all objectives together (Bonferroni)."""
SMALLEST: Final = 0.02
"""A relative difference that is called none, however many repeats tell it from the noise: repeats
within an hour say nothing of what lies between two days."""
_ASSUMED_WEIGHT: Final = 2.0
"""Degrees of freedom of the value that `analysis.noise` assumes."""


class Verdict(StrEnum):
    """What became of one objective.

    AGREES        exported files measure as the study did, within the noise
    MOVED         they do not, but the default moved alike: the machine changed, not the files
    DIFFERS       they do not, and the default does not explain it
    NOT_MEASURED  a side is missing
    """

    AGREES = "agrees"
    MOVED = "machine moved"
    DIFFERS = "differs"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One objective; values are raw geometric means.

    Attributes:
        exported: By the exported files, now.
        default: By the default that the study compares with, now.
        study: By the study, of the same configuration.
        study_default: By the study, of the default.
        gain: Exported / default, over the interleaved pairs; 95% interval.
        against_study: Exported now / the study's, with the interval that the verdict goes by.
        machine: Default now / the study's, likewise.
        steady: The two divided: what is left if the machine moved.
        equal_arms: Whether exported and default measure alike; None unless they must.
    """

    metric: str
    exported: float | None
    default: float | None
    study: float | None
    study_default: float | None
    gain: Ratio | None
    against_study: Ratio | None
    machine: Ratio | None
    steady: Ratio | None
    equal_arms: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """By the study; where the recommendation is the default, by the default beside it too."""
        if self.against_study is None:
            return Verdict.NOT_MEASURED
        if self.equal_arms is False:
            return Verdict.DIFFERS
        if not _apart(self.against_study):
            return Verdict.AGREES
        moved = self.machine is not None and _apart(self.machine)
        alike = self.steady is not None and not _apart(self.steady)
        return Verdict.MOVED if moved and alike else Verdict.DIFFERS


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All that a verification has found.

    Attributes:
        trial: The trial that the files were written for.
        is_default: Whether its configuration is the default.
        records: The verification's own, in order.
        failure: Why the exported files did not start or were not measured whole; None if they
            were.
        broken: Limits that exported files broke, as (metric, value, bound).
    """

    trial: TrialRecord
    is_default: bool
    records: tuple[TrialRecord, ...]
    objectives: tuple[Compared, ...]
    failure: Failure | None
    broken: tuple[tuple[str, float | None, float], ...]

    @property
    def agrees(self) -> bool:
        """Whether the files start, keep the limits, and measure as the study did."""
        fine = {Verdict.AGREES, Verdict.MOVED}
        return (
            self.failure is None
            and not self.broken
            and all(compared.verdict in fine for compared in self.objectives)
        )


def judge(
    study_records: Sequence[TrialRecord],
    made: Sequence[TrialRecord],
    trial: TrialRecord,
    default: Configuration,
    spec: StudySpec,
) -> Verification:
    """Compare.

    Args:
        study_records: Every trial of the study, as measured; those of verifications are not
            looked at, the others made comparable first.
        made: The trials of this verification.
        trial: What the files were written for.
        default: The configuration of the default arm.
        spec: Its objectives are compared.
    """
    asked = [r for r in study_records if r.kind is not TrialKind.VERIFY]
    arms = by_arm(as_later_starts((*asked, *made))[len(asked) :])
    superseded = first_starts_of((*asked, *made))
    before = comparable(asked, spec.objectives)
    exported = next((r for r in before if r.number == trial.number), trial)
    base = baseline_of(before)
    sides = _Sides(
        exported=[r for r in arms[EXPORTED] if r.is_measured],
        default=[r for r in arms[DEFAULT] if r.is_measured],
        study=repeats_of(before, exported),
        study_default=() if base is None else repeats_of(before, base),
        is_default=exported.configuration == _name(default, asked, before),
        level=LEVEL / len(spec.objectives),
    )
    ends = [r for r in arms[EXPORTED] if not r.is_measured]
    return Verification(
        trial=trial,
        is_default=sides.is_default,
        records=tuple(made),
        objectives=tuple(sides.compare(o.metric, before) for o in spec.objectives),
        failure=_end(arms[EXPORTED]) if ends else None,
        broken=_broken([r for r in arms[EXPORTED] if r.number not in superseded]),
    )


def compared_default(records: Sequence[TrialRecord]) -> Configuration | None:
    """What the study compares with: where its default broke a memory bound, the lowered one."""
    base = baseline_of([r for r in records if r.kind is not TrialKind.VERIFY])
    return None if base is None else base.configuration


def _end(exported: Sequence[TrialRecord]) -> Failure | None:
    """The last trial's failure: an earlier one that was run again and measured does not count."""
    return exported[-1].outcome.failure


def _name(
    configuration: Configuration, asked: Sequence[TrialRecord], named: Sequence[TrialRecord]
) -> Configuration:
    """What configurations that ran alike with one are called."""
    pairs = zip(asked, named, strict=True)
    found = (n.configuration for a, n in pairs if a.configuration == configuration)
    return next(found, configuration)


def _broken(exported: Sequence[TrialRecord]) -> tuple[tuple[str, float | None, float], ...]:
    found = {c.metric: (c.metric, c.value, c.bound)
             for r in exported for c in r.limits if c.kept is False}  # fmt: skip
    return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class _Sides:
    exported: Sequence[TrialRecord]
    default: Sequence[TrialRecord]
    study: Sequence[TrialRecord]
    study_default: Sequence[TrialRecord]
    is_default: bool
    level: float

    def compare(self, metric: str, before: Sequence[TrialRecord]) -> Compared:
        now, base = _logs(self.exported, metric), _logs(self.default, metric)
        then, then_base = _logs(self.study, metric), _logs(self.study_default, metric)
        noise = _known(noise_of(before, metric))
        spread = noise.with_repeats((now, base))
        arms = spread.ratio((now,), (base,), level=self.level)
        return Compared(
            metric=metric,
            exported=_mean(self.exported, metric),
            default=_mean(self.default, metric),
            study=_mean(self.study, metric),
            study_default=_mean(self.study_default, metric),
            gain=_paired(self.exported, self.default, metric, noise),
            against_study=spread.ratio((now,), (then,), level=self.level),
            machine=spread.ratio((base,), (then_base,), level=self.level),
            steady=spread.ratio((now, then_base), (base, then), level=self.level),
            equal_arms=not _apart(arms) if self.is_default and arms is not None else None,
        )


def _apart(ratio: Ratio) -> bool:
    """Whether a ratio is a difference: beyond its interval, and not too small to matter."""
    return ratio.tells and abs(math.log(ratio.value)) > math.log1p(SMALLEST)


def _known(noise: Noise) -> Spread:
    """What the study knows of a metric between two starts."""
    return Spread(variance=noise.relative_sd**2, freedom=_ASSUMED_WEIGHT + noise.repeats)


def _paired(
    exported: Sequence[TrialRecord], default: Sequence[TrialRecord], metric: str, noise: Spread
) -> Ratio | None:
    """Mean of the pairs' ratios; a pair is an exported trial and the default's just before it."""
    pairs = []
    theirs: list[float] = []
    for record in sorted((*default, *exported), key=lambda r: r.number):
        if record.label == DEFAULT:
            theirs = _logs([record], metric)
        elif theirs and (mine := _logs([record], metric)):
            pairs.append(mine[0] - theirs.pop())
    of_pairs = replace(noise, variance=2 * noise.variance).with_repeats((pairs,))
    return of_pairs.ratio((pairs,), (), level=LEVEL)


def _values(records: Sequence[TrialRecord], metric: str) -> list[float]:
    values = [r.metrics.get(metric) for r in records]
    return [v for v in values if v is not None and v > 0 and math.isfinite(v)]


def _logs(records: Sequence[TrialRecord], metric: str) -> list[float]:
    return [math.log(value) for value in _values(records, metric)]


def _mean(records: Sequence[TrialRecord], metric: str) -> float | None:
    """Geometric mean; exact where all are equal."""
    values = _values(records, metric)
    if not values:
        return None
    return values[0] if len(set(values)) == 1 else geometric_mean(values)


def ratios(compared: Compared) -> Mapping[str, Ratio | None]:
    """The ratios by name, for those who write them down."""
    return {
        "gain": compared.gain,
        "against_study": compared.against_study,
        "machine": compared.machine,
        "steady": compared.steady,
    }
