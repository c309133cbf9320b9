"""One prerequisite of a study: its state, what follows from it, and what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a prerequisite stands: what is missing keeps the study from starting."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One prerequisite.

    Attributes:
        name: What was looked at.
        found: What was found.
        consequence: What follows if it stays so; empty when ok.
        mend: The command or step that mends it; empty when ok.
    """

    name: str
    state: State
    found: str
    consequence: str = ""
    mend: str = ""
