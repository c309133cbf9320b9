"""A record under the name of another configuration, whose servers ran alike."""

from dataclasses import dataclass

from autotune.records import Configuration, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Renamed(TrialRecord):
    """A record that `alike.told_once` gave the name of its group.

    Its server was started with what was asked for: files and commands of its number hold that.

    Attributes:
        asked: What was asked for.
    """

    asked: Configuration


def renamed(record: TrialRecord, name: Configuration) -> TrialRecord:
    """The record under another name, or under its own again."""
    asked = asked_for(record)
    values = {key: value for key, value in vars(record).items() if key != "asked"}
    values["configuration"] = name
    return TrialRecord(**values) if name == asked else Renamed(**values, asked=asked)


def asked_for(record: TrialRecord) -> Configuration:
    """What the trial's server was started with."""
    return record.asked if isinstance(record, Renamed) else record.configuration
