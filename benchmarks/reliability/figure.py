"""What a part of the long form found: how much was tried, and every promise that was broken."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figure:
    """A line of the table.

    Attributes:
        part: Its name on the command line.
        tried: How many kills, cases, runs, by name.
        broken: One line per broken promise; empty is the figure to reach.
        wall_s: How long it took.
    """

    part: str
    tried: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    wall_s: float = 0.0

    def demand(self, *names: str) -> None:
        """Nothing tried is nothing shown: a promise counts as broken if there is none of a name."""
        self.broken += [f"no {name}: nothing is shown" for name in names if not self.tried[name]]

    def line(self) -> str:
        """For people."""
        tried = ", ".join(f"{count} {name}" for name, count in self.tried.items())
        return f"{self.part}: {tried}; {len(self.broken)} broken; {self.wall_s:.0f} s"

    def as_json(self) -> dict[str, object]:
        """For whoever keeps it."""
        return {
            "part": self.part,
            "tried": dict(self.tried),
            "broken": self.broken,
            "wall_s": round(self.wall_s, 1),
        }
