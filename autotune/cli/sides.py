"""The two sides of a comparison: a trial, or what a study recommends."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.analysis.comparable import comparable
from autotune.analysis.costs import is_later_start, is_startup
from autotune.analysis.measurements import logs_of, over_repeats, repeats_of
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.analysis.recommend import recommend
from autotune.cli.stored import stored_study
from autotune.errors import UsageError
from autotune.metrics import METRICS
from autotune.records import TrialRecord
from autotune.report.findings import estimates_of
from autotune.spec.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of both.

    Attributes:
        name: As it was asked for.
        record: The trial, or the one that stands for a recommendation.
        trials: What its figures are means over: the proofs of a recommendation, or the trial.
        records: Every trial of its study, made comparable; their repeats tell the noise.
        load: Its study's.
        damaged: Its records that cannot be used, a line each.
        estimates: Metric to its trials whose figure was computed and not measured.
        notes: Why a trial's figures are not all as measured.
    """

    name: str
    record: TrialRecord
    trials: tuple[TrialRecord, ...]
    records: tuple[TrialRecord, ...]
    load: Workload = field(default_factory=Workload)
    damaged: tuple[str, ...] = ()
    estimates: Mapping[str, frozenset[int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def behind(self, tag: str) -> tuple[TrialRecord, ...]:
        """Trials that a metric is the mean of; of the start-up the record's alone.

        A first start and a later one are not alike, and repeats hold both.
        """
        metric = METRICS.get(tag)
        return (self.record,) if metric is not None and is_startup(metric) else self.trials

    def figure(self, tag: str) -> float | None:
        """Raw; None if it was not measured."""
        return over_repeats(self.behind(tag), self.record, tag)

    def is_estimate(self, tag: str) -> bool:
        """Whether the figure was computed, in part at least."""
        computed = self.estimates.get(tag, frozenset())
        return any(record.number in computed for record in self.behind(tag))


def numbered(study: str, number: str) -> str:
    """A trial of a study as one word.

    Raises:
        UsageError: If the one names no study or the other no trial.
    """
    if ":" in study or not number.isdecimal():
        wrong = study if ":" in study else number
        message = f"{wrong!r} is no {'study' if ':' in study else 'trial'}"
        raise UsageError(message, hint="Three arguments are a study and two of its trials: "
                                       "default 0 17.")  # fmt: skip
    return f"{study}:{number}"


def referred(text: str) -> Side:
    """What a word of the command line names.

    Raises:
        UsageError: If there is no such study or trial.
        NothingFeasibleError: If a study recommends nothing.
    """
    name, colon, number = text.partition(":")
    study = stored_study(name)
    if colon and not number.isdecimal():
        message = f"{text!r} names no trial"
        raise UsageError(message, hint="Write it like default:7, or default for its answer.")
    records = comparable(study.records, study.spec.objectives)
    notes: tuple[str, ...] = ()
    if colon:
        stored = study.trial(int(number))
        record = next(r for r in records if r.number == stored.number)
        trials: tuple[TrialRecord, ...] = (record,)
        notes = tuple(note for note in record.notes if note not in stored.notes)
    else:
        record = recommend(records, study.spec, study.prefer).record
        trials = repeats_of(records, record)
    return Side(
        name=text,
        record=record,
        trials=trials,
        records=records,
        load=study.spec.workload,
        damaged=study.damaged,
        estimates=estimates_of(study.records, records),
        notes=notes,
    )


def is_clear(mine: float, theirs: float, interval: tuple[float, float] | None) -> bool:
    """Whether two figures differ beyond the noise, as far as there is any."""
    return mine != theirs if interval is None else not interval[0] <= 1 <= interval[1]


def are_alike(tag: str, one: Side, other: Side) -> bool:
    """Whether a figure may be compared: of the start-up, that of two later starts alone."""
    metric = METRICS.get(tag)
    if metric is None or not is_startup(metric):
        return True
    return all(is_later_start(side.records, side.record) for side in (one, other))


def interval_of(tag: str, one: Side, other: Side) -> tuple[float, float] | None:
    """95% interval of the ratio of the second's mean to the first's; None where there is none.

    Each side's mean has the noise of its own study over the square root of its trials
    (`analysis/noise.py`).
    """
    logs = [logs_of(side.behind(tag), tag) for side in (one, other)]
    if not all(logs):
        return None
    variance = math.fsum(
        noise_of(side.records, tag).relative_sd ** 2 / len(values)
        for side, values in zip((one, other), logs, strict=True)
    )
    mine, theirs = (math.fsum(values) / len(values) for values in logs)
    reach = SIGNIFICANT * math.sqrt(variance)
    return math.exp(theirs - mine - reach), math.exp(theirs - mine + reach)
