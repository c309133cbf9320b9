"""Trials of what was asked for, under whatever name they bear by now.

`told_once` (`analysis/alike.py`) gives configurations that ran alike one name. A plan asks for one
of them and must find its trials all the same: else it would ask again, and never be done.
"""

from collections.abc import Iterable, Mapping, Sequence

from autotune.analysis.renamed import asked_for
from autotune.records import Configuration, TrialRecord


def names_of(records: Iterable[TrialRecord]) -> Mapping[Configuration, Configuration]:
    """Of each configuration whose trials bear another name, that name."""
    return {asked_for(r): r.configuration for r in records if asked_for(r) != r.configuration}


def is_of(record: TrialRecord, configuration: Configuration) -> bool:
    """Whether a trial counts for a configuration: it bears its name, or was asked for it."""
    return configuration in {record.configuration, asked_for(record)}


def by_configuration(
    records: Iterable[TrialRecord],
) -> Mapping[Configuration, Sequence[TrialRecord]]:
    """Trials by their name, and by what was asked for; in the order given."""
    found: dict[Configuration, list[TrialRecord]] = {}
    for record in records:
        for configuration in dict.fromkeys((record.configuration, asked_for(record))):
            found.setdefault(configuration, []).append(record)
    return found
