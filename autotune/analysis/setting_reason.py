"""One setting of a recommendation, with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from autotune.analysis.costs import told
from autotune.analysis.effects import Effect
from autotune.records import Scalar


class Basis(StrEnum):
    """What a reason rests on.

    DEFAULT     the default has it too
    IDLE        the server without it ran with the same values, or the default's did with this one
                and nobody tried the rest without it
    NEEDED      without it the configuration is forbidden, did not run or broke a limit
    MEASURED    a matched pair
    UNMEASURED  no two trials have it and the default's value and are alike in all else
    """

    DEFAULT = "default"
    IDLE = "idle"
    NEEDED = "needed"
    MEASURED = "measured"
    UNMEASURED = "unmeasured"


class Shown(StrEnum):
    """What the reason shows of a setting.

    FORCED   it is the default's, or the rest does not run or is not allowed without it
    HELPS    without it an objective is worse, or something beside them
    COST     without it no objective is worse, and more is better beside them than is worse
    NOTHING  without it nothing is told from noise
    IDLE     it may change nothing
    UNKNOWN  nobody tried the rest, or anything like it, without it
    """

    FORCED = "forced"
    HELPS = "helps"
    COST = "at a cost"
    NOTHING = "nothing"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class SettingReason:
    """Why one setting is as it is.

    Attributes:
        value: What is recommended.
        default: What the engine takes if nothing is set, as read back, else what the baseline
            has; None if unknown.
        text: One line.
        effects: What its matched pair says, per objective; empty where there is none.
        basis: What the text rests on.
        costs: Metric to ratio with it against without it, of what it makes worse beyond noise.
        shown: What the text comes to.
    """

    parameter: str
    value: Scalar
    default: Scalar | None
    text: str
    effects: tuple[Effect, ...] = ()
    basis: Basis = Basis.UNMEASURED
    costs: Mapping[str, float] = field(default_factory=dict)
    shown: Shown = Shown.UNKNOWN

    @property
    def brief(self) -> str:
        """What the text comes to in a few words, where a line has no room for it.

        What a rule forces is told whole: it is there to keep from harm.
        """
        if self.shown is Shown.FORCED:
            return self.text
        if self.shown is Shown.COST:
            return f"not shown to help; {told(self.costs, most=1)}"
        return {
            Shown.HELPS: "shown to help",
            Shown.NOTHING: "not shown to help",
            Shown.IDLE: "may change nothing",
            Shown.UNKNOWN: "not measured alone",
        }[self.shown]


SHOWN: Final = {
    Basis.DEFAULT: Shown.FORCED,
    Basis.NEEDED: Shown.FORCED,
    Basis.IDLE: Shown.IDLE,
    Basis.MEASURED: Shown.NOTHING,
    Basis.UNMEASURED: Shown.UNKNOWN,
}
"""What a basis shows by itself."""
