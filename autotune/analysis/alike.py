"""Configurations that ran alike are one configuration.

A search asks for values that are the engine's default anyway (a `max_model_len` that is the
model's own). Two such configurations are one and the same server: its trials belong together, for
else one lucky trial of it stands beside the mean of the others and looks better than it is.
"""

from collections.abc import Sequence
from typing import Final

from autotune.analysis.pairs import in_effect
from autotune.analysis.renamed import asked_for, renamed
from autotune.records import Configuration, Scalar, TrialKind, TrialRecord

_BY_THEMSELVES: Final = frozenset({TrialKind.MATRIX, TrialKind.VERIFY})


def told_once(records: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The records, with one name for all configurations whose servers read back the same.

    The name is the baseline's own, else of those with a feasible trial the one that sets the fewest
    parameters, of several the first. It is one that was asked for: what a server takes for a
    setting that is left to it may hang on the others. What was asked for otherwise is marked
    (`analysis/renamed.py`): its files hold other flags than the name says.

    A configuration that no server read back (it did not start) keeps its own name, for nothing
    says what it would have run with; cells of a matrix and trials of `autotune verify` do too, for
    there each is looked at by itself.
    """
    names = sorted({name for record in records for name, _ in record.configuration.items})
    ran: dict[Configuration, tuple[Scalar, ...]] = {}
    own = {r.configuration for r in records if r.kind is TrialKind.BASELINE}
    whole = {asked_for(r) for r in records if r.is_feasible}
    for record in records:
        if record.kind not in _BY_THEMSELVES and record.applied and record.applied.settings:
            ran.setdefault(record.configuration, tuple(in_effect(record, n) for n in names))
    alike: dict[tuple[Scalar, ...], list[Configuration]] = {}
    for configuration, key in ran.items():
        alike.setdefault(key, []).append(configuration)
    name_of = {
        configuration: min(same, key=lambda c: (c not in own, c not in whole, len(c.items)))
        for same in alike.values()
        for configuration in same
    }

    def named(record: TrialRecord) -> TrialRecord:
        name = name_of.get(record.configuration, record.configuration)
        is_named = record.kind in _BY_THEMSELVES or name == record.configuration
        return record if is_named else renamed(record, name)

    return tuple(map(named, records))
