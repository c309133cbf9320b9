"""Trials of one study, made comparable: other machines, drifts, disturbances, first starts.

A study that was stopped may go on elsewhere, and two cards of one kind differ by a fifth (measured:
docs/results). Configurations are compared with each other, so all figures are given as on one
machine, scaled by the ratio of the baseline's there and here: what block designs do, with the
baseline as the treatment that every block holds (Montgomery, Design and Analysis of Experiments,
section 4.4). A clear drift on one machine counts as another machine from then on.

Only speeds are scaled: times, rates and energy. Tokens and bytes do not depend on the card's pace.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Final, Literal

from autotune.analysis.alike import told_once
from autotune.analysis.costs import is_startup
from autotune.analysis.first_starts import as_later_starts
from autotune.analysis.measurements import baseline_of, logs_by_configuration, logs_of
from autotune.analysis.noise import pooled
from autotune.metrics import METRICS, Unit
from autotune.records import Configuration, TrialRecord
from autotune.spec.study import Objective

PLACE: Final = ("host", "host_cpu_count", "gpu", "gpu_uuid", "gpu_driver", "gpu_memory_bytes")
"""What of a record's environment makes a machine; what a record does not say is not compared."""
_SPEEDS: Final = {Unit.NS, Unit.TOKENS_PER_S, Unit.REQUESTS_PER_S, Unit.JOULES_PER_TOKEN}
CLEAR: Final = 3.0
"""Standard errors by which a machine's baseline must have moved before trials are corrected.

More than the two that a notice takes: a correction of what was only noise does harm.
"""
_ENOUGH_FOR_DRIFT: Final = 4  # baselines: two early, two late

Towards = Literal["first", "latest"]


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Trials whose figures are scaled.

    Attributes:
        trials: Their numbers.
        reference: Number of the first trial of the stretch that figures are given for.
        is_drift: Whether it is the same machine, and changed.
        baselines: Trials of the baseline there and in the reference.
        ratios: Metric to what its figures are multiplied by; empty where the baseline was not
            measured in one of both.
        shown: The objectives among them.
    """

    trials: tuple[int, ...]
    reference: int
    is_drift: bool
    baselines: tuple[int, int]
    ratios: Mapping[str, float] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    def __str__(self) -> str:
        first, last = self.trials[0], self.trials[-1]
        named = f"trial {first}" if first == last else f"trials {first} to {last}"
        where = "before the machine changed" if self.is_drift else "on another machine"
        verb = "was" if first == last else "were"
        measured = f"{named} {verb} measured {where} than trial {self.reference} on"
        if self.is_drift:
            measured = f"{named} {verb} measured {where}, about trial {self.reference}"
        if not self.ratios:
            return f"{measured}, and the baseline was not measured there: speeds are not compared"
        there, here = self.baselines
        scaled = ", ".join(f"{METRICS[tag].title} by {self.ratios[tag]:.3f}" for tag in self.shown)
        return (
            f"{measured}; speeds are scaled by the ratio of the baseline's ({there} and {here} "
            f"trials of it){': ' if scaled else ''}{scaled}"
        )


def is_speed(tag: str) -> bool:
    """Whether a metric depends on the machine's pace; starts do as well, and on caches more."""
    metric = METRICS.get(tag)
    return metric is not None and metric.unit in _SPEEDS and not is_startup(metric)


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """Records that can be compared, and what was scaled in them for it."""

    records: tuple[TrialRecord, ...]
    corrections: tuple[Correction, ...]


def corrected(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    towards: Towards = "latest",
) -> Corrected:
    """The records with speeds that can be held against each other, in the order given.

    Speeds of a disturbed trial are taken out where its configuration was measured undisturbed.
    Configurations that ran alike have one name (`analysis/alike.py`), and first starts make way
    for later ones (`analysis/first_starts.py`), but for a sampler, which learns of each as it was
    asked for and measured.

    Args:
        records: Of one study, as measured.
        objectives: Whose drift is looked at.
        towards: The machine that figures are given for: the first one with a baseline or the
            last. A sampler learns the first one's.
    """
    named = as_later_starts(told_once(records)) if towards == "latest" else tuple(records)
    made = _corrections(named, objectives, towards)
    factors: dict[int, Mapping[str, float]] = {}
    for correction in made:
        factors |= dict.fromkeys(correction.trials, correction.ratios)
    calm = measured_calmly(named)
    scaled = tuple(
        _without_speeds(r, "disturbed, and measured again")
        if r.is_disturbed and r.configuration in calm
        else _scaled(r, factors[r.number])
        if r.number in factors
        else r
        for r in named
    )
    return Corrected(records=scaled, corrections=made)


def comparable(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    *,
    towards: Towards = "latest",
) -> tuple[TrialRecord, ...]:
    """The records of `corrected`, for those who need not tell what was scaled."""
    return corrected(records, objectives, towards=towards).records


def corrections(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> tuple[Correction, ...]:
    """What `corrected` scales; empty for a study on one steady machine."""
    return corrected(records, objectives).corrections


def _corrections(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], towards: Towards
) -> tuple[Correction, ...]:
    parts = _stretches(records, objectives)
    baseline = baseline_of(records)
    if len(parts) < 2 or baseline is None:
        return ()
    measured = [_baselines(part, baseline.configuration) for part in parts]
    held = [i for i, found in enumerate(measured) if found]
    if not held:
        return ()
    chosen = held[0] if towards == "first" else max(held, key=lambda i: parts[i][-1].number)
    reference = parts[chosen]
    tags = [o.metric for o in objectives if is_speed(o.metric)]
    made = []
    for part, found in zip(parts, measured, strict=True):
        ratios = _ratios(found, measured[chosen])
        is_done = bool(ratios) and all(abs(ratio - 1) < 1e-9 for ratio in ratios.values())
        if part is reference or is_done:
            continue
        made.append(
            Correction(
                trials=tuple(r.number for r in part),
                reference=reference[0].number,
                is_drift=_is_place(_place(part), _place(reference)),
                baselines=(len(found), len(measured[chosen])),
                ratios=ratios,
                shown=tuple(tag for tag in tags if tag in ratios),
            )
        )
    return tuple(made)


def measured_calmly(records: Sequence[TrialRecord]) -> set[Configuration]:
    """Configurations with a trial that nothing disturbed."""
    return {r.configuration for r in records if r.is_measured and not r.is_disturbed}


def machines_of(records: Sequence[TrialRecord]) -> list[tuple[TrialRecord, ...]]:
    """The records by the machine that they were measured on, in the order of its first trial.

    One that does not say where it was measured (it was never started) belongs to the one before.
    """
    places: list[dict[str, str]] = []
    found: list[list[TrialRecord]] = []
    last = 0
    for record in records:
        place = {key: record.environment[key] for key in PLACE if key in record.environment}
        alike = [i for i, known in enumerate(places) if _is_place(known, place)]
        if not places or (place and not alike):
            places.append(place)
            found.append([])
            last = len(places) - 1
        elif place and last not in alike:
            last = alike[-1]
        places[last] |= place
        found[last].append(record)
    return [tuple(machine) for machine in found]


def _stretches(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> list[tuple[TrialRecord, ...]]:
    """The records by machine, and before and after a clear drift of it."""
    baseline = baseline_of(records)
    found: list[tuple[TrialRecord, ...]] = []
    for machine in machines_of(records):
        place = None if baseline is None else _drifted(machine, baseline.configuration, objectives)
        if place is None:
            found.append(machine)
        else:
            found += [
                tuple(r for r in machine if r.number <= place),
                tuple(r for r in machine if r.number > place),
            ]
    return [part for part in found if part]


def _drifted(
    machine: Sequence[TrialRecord], baseline: Configuration, objectives: Sequence[Objective]
) -> float | None:
    """Between which trials the machine changed, as the number in the middle; None if it did not.

    Half way between the earlier half of its baselines and the later one: when exactly nobody saw.
    """
    same = _baselines(machine, baseline)
    if len(same) < _ENOUGH_FOR_DRIFT:
        return None
    early, late = same[: len(same) // 2], same[len(same) // 2 :]
    others = [r for r in machine if r.configuration != baseline]
    for tag in (o.metric for o in objectives if is_speed(o.metric)):
        before, after = logs_of(early, tag), logs_of(late, tag)
        if len(before) < 2 or len(after) < 2:
            continue
        groups: dict[object, Sequence[float]] = {"early": before, "late": after}
        sd = pooled({**groups, **logs_by_configuration(others, tag)}).relative_sd
        spread = sd * math.sqrt(1 / len(before) + 1 / len(after))
        if abs(fmean(after) - fmean(before)) > CLEAR * spread:
            return (early[-1].number + late[0].number) / 2
    return None


def _baselines(part: Sequence[TrialRecord], baseline: Configuration) -> list[TrialRecord]:
    """Trials that tell the baseline's figures, by number."""
    same = [
        r
        for r in part
        if r.configuration == baseline and any(is_speed(tag) for tag in r.metrics if
                                               r.metrics[tag] is not None)
    ]  # fmt: skip
    calm = [r for r in same if not r.is_disturbed]
    return sorted(calm or same, key=lambda r: r.number)


def _ratios(there: Sequence[TrialRecord], here: Sequence[TrialRecord]) -> dict[str, float]:
    """Speed to the geometric mean here over that there."""
    tags = dict.fromkeys(tag for r in (*there, *here) for tag in r.metrics if is_speed(tag))
    found = {}
    for tag in tags:
        before, now = logs_of(there, tag), logs_of(here, tag)
        if before and now:
            found[tag] = math.exp(fmean(now) - fmean(before))
    return found


def _scaled(record: TrialRecord, ratios: Mapping[str, float]) -> TrialRecord:
    if not ratios:
        return _without_speeds(record, "measured where the baseline was not")
    metrics = {
        tag: value * _ratio(tag, ratios) if value is not None and is_speed(tag) else value
        for tag, value in record.metrics.items()
    }
    note = "speeds are scaled by the baseline's ratio to the machine of the later trials"
    return replace(record, metrics=metrics, notes=(*record.notes, note))


def _ratio(tag: str, ratios: Mapping[str, float]) -> float:
    """A metric's own, else the mean over metrics of its unit, else of none: then it stays."""
    if tag in ratios:
        return ratios[tag]
    akin = [math.log(r) for other, r in ratios.items() if METRICS[other].unit is METRICS[tag].unit]
    return math.exp(fmean(akin)) if akin else 1.0


def _without_speeds(record: TrialRecord, why: str) -> TrialRecord:
    metrics = {tag: None if is_speed(tag) else value for tag, value in record.metrics.items()}
    return replace(record, metrics=metrics, notes=(*record.notes, f"{why}: speeds left out"))


def _place(part: Sequence[TrialRecord]) -> dict[str, str]:
    return {key: r.environment[key] for r in part for key in PLACE if key in r.environment}


def _is_place(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether nothing that both tell differs."""
    return all(one[key] == other[key] for key in one.keys() & other.keys())
