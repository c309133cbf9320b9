"""Matched pairs: two configurations that differ in one setting only, and in nothing else.

Trials with a setting against trials without it differ in everything that a search changed on the
way, so their means tell nothing of the setting. A pair does.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from autotune.analysis.measurements import Measured, differences
from autotune.records import Configuration, Scalar, TrialRecord
from autotune.spec.space import DEFAULT


@dataclass(frozen=True, kw_only=True)
class MatchedPair:
    """One setting's two sides.

    Attributes:
        having: The configuration with the value.
        lacking: The same with the other value.
    """

    parameter: str
    having: Measured
    lacking: Measured


def value_of(record: TrialRecord, parameter: str) -> Scalar:
    """A parameter's value as it was asked for; `default` where it was left to the engine."""
    value = record.configuration.get(parameter)
    return DEFAULT if value is None else value


def in_effect(record: TrialRecord, parameter: str) -> Scalar:
    """What a trial ran with: as read back, else as asked for."""
    back = read_back(record, parameter)
    return value_of(record, parameter) if back is None else back


def told_apart(one: TrialRecord, other: TrialRecord) -> tuple[str, ...]:
    """Parameters on which two trials differ in effect.

    A difference in what was asked for is none where both servers read back the same value: the
    setting is the engine's default anyway.
    """
    asked = differences(one.configuration, other.configuration)
    return tuple(name for name in asked if not _ran_alike(one, other, name))


def perhaps_idle(record: TrialRecord, reference: TrialRecord) -> tuple[str, ...]:
    """Settings of a trial that may do nothing: the reference's server ran with the same value.

    What the trial's own server would take without them is another matter: the engine's default of
    one setting may hang on another (vLLM's `max_num_batched_tokens` on its `performance_mode`).
    Only a server that was started without one shows that it does nothing, and `told_once`
    (`analysis/alike.py`) then names the configuration without it.
    """
    asked = differences(record.configuration, reference.configuration)
    return tuple(name for name in asked if _ran_alike(record, reference, name))


def with_values_of(
    configuration: Configuration, names: Iterable[str], reference: Configuration
) -> Configuration:
    """A configuration with some settings put back to what the reference has."""
    names = tuple(names)
    kept = {name: value for name, value in reference.items if name in names}
    return configuration.without(*names).updated(kept)


def matched_pairs(
    groups: Sequence[Measured],
    parameter: str,
    having: Collection[Scalar],
    lacking: Collection[Scalar],
) -> tuple[MatchedPair, ...]:
    """Pairs in which one side has one of some values of a parameter, the other one of others.

    Args:
        groups: Configurations with their figures.
        parameter: The one setting that differs.
        having: Values as asked for or read back; `default` is one.
        lacking: The other side's.
    """
    names = sorted({name for group in groups for name, _ in group.configuration.items})
    others: dict[object, list[Measured]] = {}
    for group in groups:
        if holds(group.latest, parameter, lacking):
            for key in _keys(group.latest, parameter, names):
                others.setdefault(key, []).append(group)
    found: dict[tuple[Configuration, Configuration], MatchedPair] = {}
    for one in groups:
        if not holds(one.latest, parameter, having):
            continue
        for other in (
            o for key in _keys(one.latest, parameter, names) for o in others.get(key, ())
        ):
            if told_apart(one.latest, other.latest) == (parameter,):
                pair = MatchedPair(parameter=parameter, having=one, lacking=other)
                found[one.configuration, other.configuration] = pair
    return tuple(found.values())


def read_back(record: TrialRecord, parameter: str) -> Scalar | None:
    """What the server said that it ran with; None where nobody could read it."""
    return None if record.applied is None else record.applied.settings.get(parameter)


def known_setting(record: TrialRecord, parameter: str) -> Scalar | None:
    """What was asked for, else what was read back; None where neither is known."""
    asked = record.configuration.get(parameter)
    return read_back(record, parameter) if asked is None else asked


def holds(record: TrialRecord, parameter: str, values: Collection[Scalar]) -> bool:
    """Whether a trial has one of some values of a parameter, as asked for or as read back."""
    return value_of(record, parameter) in values or read_back(record, parameter) in values


def _keys(record: TrialRecord, parameter: str, names: Sequence[str]) -> tuple[object, object]:
    """What two sides of a pair share: all else that was asked for, or all else that was run."""
    rest = [name for name in names if name != parameter]
    return record.configuration.without(parameter), tuple(in_effect(record, n) for n in rest)


def _ran_alike(one: TrialRecord, other: TrialRecord, name: str) -> bool:
    mine, theirs = read_back(one, name), read_back(other, name)
    return mine is not None and mine == theirs
