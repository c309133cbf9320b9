"""Parameters of a search space: lists of choices and numeric ranges, and conditions on them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from autotune.records import Configuration, Scalar

DEFAULT: Final = "default"
"""The choice that leaves a parameter to the engine."""


MOST_VALUES: Final = 10_000
"""Most steps that a range may have."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Another parameter has one of these values; `default` is one where it is left alone."""

    parameter: str
    values: tuple[Scalar, ...]

    def holds(self, values: Mapping[str, Scalar]) -> bool:
        """Whether it does in a configuration's values."""
        return among(values.get(self.parameter, DEFAULT), self.values)


def among(value: Scalar, choices: Iterable[Scalar]) -> bool:
    """Whether a value is one of the choices, 1 and True kept apart."""
    return any(value == c and isinstance(value, bool) == isinstance(c, bool) for c in choices)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A parameter with a list of values; `default` among them leaves it to the engine."""

    name: str
    choices: tuple[Scalar, ...]
    when: tuple[Condition, ...] = ()

    def grid(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.choices

    def contains(self, value: Scalar) -> bool:
        """Whether a value is one of the choices, 1 and True kept apart."""
        return among(value, self.choices)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A numeric parameter.

    Attributes:
        step: Distance of values on a linear scale; None is 1 for integers, none for reals.
        log: Whether the scale is logarithmic; integers then step by powers of two.
    """

    name: str
    low: float
    high: float
    integer: bool
    step: float | None = None
    log: bool = False
    when: tuple[Condition, ...] = ()

    def grid(self) -> tuple[Scalar, ...]:
        """The values worth naming, ascending, from `low` to the last that a step reaches.

        Integers on a logarithmic scale are powers of two times `low`, and `high`; reals without
        a step are 16 evenly spaced ones; of more than `MOST_VALUES` integers, every nth.
        """
        if self.low == self.high:
            return (self.as_scalar(self.low),)
        if self.log and self.integer:
            count = int(math.log2(self.high / self.low) + 1e-9) + 1
            values = [round(self.low) * 2**i for i in range(count)]
            return tuple(values if values[-1] == self.high else [*values, round(self.high)])
        if self.log:
            ratio = self.high / self.low
            points = [self.low * ratio ** (i / 15) for i in range(16)]
        else:
            # A range too narrow to be divided (5e-324) has no step, but its ends.
            step = self.step or self._step_of_its_own() or self.high - self.low
            count = int((self.high - self.low) / step + 1e-9) + 1
            points = [self.low + i * step for i in range(count)]
        return tuple(dict.fromkeys(self.as_scalar(point) for point in points))

    def _step_of_its_own(self) -> float:
        if self.integer:
            return math.ceil((self.high - self.low) / MOST_VALUES)
        return (self.high - self.low) / 15

    def as_scalar(self, value: float) -> Scalar:
        """An integer, or a real of twelve digits without floating-point dust; inside the range."""
        inside = min(max(value, self.low), self.high)
        if self.integer:
            return round(inside)
        return min(max(float(f"{inside:.12g}"), self.low), self.high)

    def contains(self, value: Scalar) -> bool:
        """Whether a value lies in the range (on or off its steps)."""
        if isinstance(value, bool | str) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and (not self.integer or value == int(value))


Parameter = Choice | Range


@dataclass(frozen=True, kw_only=True)
class Given:
    """A setting of every configuration that does not make it itself.

    Attributes:
        unless: Parameters that take its place: a configuration with one of them gets nothing.
    """

    parameter: str
    value: Scalar
    unless: frozenset[str] = frozenset()

    def completed(self, configuration: Configuration) -> Configuration:
        """A configuration with it."""
        values = configuration.values
        if self.parameter in values or not self.unless.isdisjoint(values):
            return configuration
        return configuration.updated({self.parameter: self.value})
