"""Configurations as rows of numbers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.records import Configuration, Scalar
from autotune.spec.parameters import DEFAULT, Parameter, Range
from autotune.spec.space import SearchSpace

FloatArray = NDArray[np.float64]

_CATEGORY = math.sqrt(0.5)
"""Two categories lie 1 apart: as far as the two ends of a numeric parameter."""


class Encoder:
    """Encodes configurations of one space.

    A numeric parameter is its place between its ends, by rank for a list of numbers (their
    authors space them as they matter) and on the range's own scale otherwise. A list of words is
    one column per word. `default`, inactive, and values outside the space are a column of
    their own beside the numbers' middle.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._columns = [_column(parameter) for parameter in space.in_order()]

    def encode(self, configurations: Sequence[Configuration]) -> FloatArray:
        """Rows for configurations.

        Returns:
            (configurations, columns), each within [0, 1].
        """
        rows = []
        for configuration in configurations:
            values = configuration.values
            row: list[float] = []
            for column in self._columns:
                row += column.encode(values.get(column.name))
            rows.append(row)
        width = sum(column.width for column in self._columns)
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), width)


class _Words:
    def __init__(self, name: str, words: Sequence[Scalar]) -> None:
        self.name, self._words = name, [w for w in words if w != DEFAULT]
        self.width = len(self._words) + 1

    def encode(self, value: Scalar | None) -> list[float]:
        row = [0.0] * self.width
        place = next((i for i, w in enumerate(self._words) if _same(w, value)), self.width - 1)
        row[place] = _CATEGORY
        return row


class _Numbers:
    def __init__(self, name: str, numbers: Sequence[float], *, absent: bool) -> None:
        self.name, self._numbers, self._absent = name, sorted(numbers), absent
        self.width = 1 + absent

    def encode(self, value: Scalar | None) -> list[float]:
        if value is None or isinstance(value, str | bool):
            return [0.5, 1.0][: self.width]
        last = len(self._numbers) - 1
        place = float(np.interp(value, self._numbers, np.arange(last + 1))) / last if last else 0.5
        return [place, 0.0][: self.width]


class _Scale:
    def __init__(self, parameter: Range) -> None:
        self.name, self._range = parameter.name, parameter
        self.width = 2

    def encode(self, value: Scalar | None) -> list[float]:
        if value is None or isinstance(value, str | bool):
            return [0.5, 1.0]
        low, high, here = self._range.low, self._range.high, float(value)
        if self._range.log:
            low, high, here = math.log(low), math.log(high), math.log(max(here, low * 0.5))
        place = (here - low) / (high - low) if high > low else 0.5
        return [min(1.0, max(0.0, place)), 0.0]


_Column = _Words | _Numbers | _Scale


def _column(parameter: Parameter) -> _Column:
    if isinstance(parameter, Range):
        return _Scale(parameter)
    numbers = [c for c in parameter.choices if isinstance(c, int | float) and c is not True
               and c is not False]  # fmt: skip
    if len(numbers) + (DEFAULT in parameter.choices) < len(parameter.choices) or len(numbers) < 2:
        return _Words(parameter.name, parameter.choices)
    return _Numbers(parameter.name, numbers, absent=True)


def _same(one: Scalar, other: Scalar | None) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
