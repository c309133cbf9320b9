"""Values of several parameters that must not meet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from autotune.records import Scalar
from autotune.spec.parameters import DEFAULT, Condition, among

BECAUSE: Final = "because"
"""The key of a forbidden combination in a file that is no parameter: why it is forbidden."""


@dataclass(frozen=True, kw_only=True)
class Forbidden:
    """Conditions that must not hold together; why, where somebody said so."""

    conditions: tuple[Condition, ...]
    reason: str = field(default="", compare=False)

    def hits(self, values: Mapping[str, Scalar]) -> bool:
        """Whether a configuration's values are what is forbidden."""
        return all(condition.holds(values) for condition in self.conditions)

    def covers(self, other: "Forbidden") -> bool:
        """Whether it forbids all that the other one does."""
        values = {c.parameter: c.values for c in other.conditions}
        return all(
            c.parameter in values and all(among(v, c.values) for v in values[c.parameter])
            for c in self.conditions
        )

    def under(self, conditions: Sequence[Condition]) -> "Forbidden":
        """The same for other conditions."""
        return replace(self, conditions=tuple(conditions))

    def refusal(self, values: Mapping[str, Scalar], space: str) -> str:
        """What is said of a configuration that it hits."""
        named = " with ".join(
            f"{c.parameter}={values.get(c.parameter, DEFAULT)}" for c in self.conditions
        )
        if self.reason:
            return f"{named}: {self.reason}"
        return f"{named} is forbidden in space {space!r}"

    def to_raw(self) -> dict[str, Any]:
        """Its form in a file."""
        raw: dict[str, Any] = {c.parameter: list(c.values) for c in self.conditions}
        return {**raw, BECAUSE: self.reason} if self.reason else raw


def added(patterns: Sequence[Forbidden], new: Forbidden) -> tuple[Forbidden, ...]:
    """The patterns and a new one, each combination forbidden once.

    What says the same as the new one gives way to it: the new one has the reason.
    """
    if any(known.covers(new) and not new.covers(known) for known in patterns):
        return tuple(patterns)
    return (*(known for known in patterns if not new.covers(known)), new)


def bare(patterns: Sequence[Forbidden]) -> tuple[Forbidden, ...]:
    """What they forbid, each combination once, without the reasons."""
    found: tuple[Forbidden, ...] = ()
    for pattern in patterns:
        found = added(found, replace(pattern, reason=""))
    return found
