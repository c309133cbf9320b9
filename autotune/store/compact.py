"""Mappings as small as their values: the names are held once for all mappings that have them.

Trials of a study tell some sixty figures under the same names. A dictionary of its own for each
costs three times what the figures do.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

Value = TypeVar("Value")

_MOST_FORMS = 1024
"""Sets of names that are known at a time; a mapping keeps its own for as long as it lives."""


class Compact(Mapping[str, Value]):
    """A mapping that never changes, equal to the dictionary that it was made of.

    Args:
        values: What it holds, in the order that it is to have.
    """

    __slots__ = ("_places", "_values")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._places = _places_of(tuple(values))
        self._values = tuple(values.values())

    def __getitem__(self, name: str) -> Value:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


def compact(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """A mapping in this form; one that has it already is itself."""
    return values if isinstance(values, Compact) else Compact(values)


@lru_cache(maxsize=_MOST_FORMS)
def _places_of(names: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}
