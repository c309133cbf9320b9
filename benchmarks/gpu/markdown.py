"""Tables as the pages of results show them."""

from collections.abc import Iterable, Sequence
from typing import Final

Rows = Iterable[Sequence[str]]
DASH: Final = "-"


def markdown(heads: Sequence[str], rows: Rows) -> str:
    """A table."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def share(value: float | None) -> str:
    """A relative error; a dash where there is none."""
    return DASH if value is None else f"{value:.1%}"
