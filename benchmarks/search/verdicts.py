"""What whole studies came to: kept as JSON, told in lines and in the table of docs/search.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

RESULTS: Final = Path(__file__).resolve().parent / "results"
_PREFIX: Final = "recommendations-"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Recommended settings that differ from the default.

    Attributes:
        gain: True balanced score of all of them over the default's (a sum of logs).
        count: How many there are.
        useless: Those whose removal alone truly loses no more than the noise of one figure.
        in_vain: Those whose removal alone truly loses nothing at all.
        ablations: Trials spent on taking settings away.
    """

    gain: float
    count: int
    useless: int
    in_vain: int
    ablations: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One study's end.

    Attributes:
        gain: True balanced score of the recommendation over the default's (a sum of logs).
        best_gain: The same of the best configuration there is.
        kept: Whether the answer was the default.
        before: What would have been recommended without ablation.
        after: What was.
    """

    seed: int
    gain: float
    best_gain: float
    kept: bool
    before: Overrides
    after: Overrides


@dataclass(frozen=True, kw_only=True)
class Run:
    """Studies of one sort.

    Attributes:
        trials: Budget of each.
        gain: What the best configuration truly gains; 0 for flat, None for as drawn.
        noise: Relative standard deviation of one figure.
    """

    name: str
    trials: int
    gain: float | None
    noise: float
    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> int:
        """Studies that kept the default."""
        return sum(v.kept for v in self.verdicts)

    @property
    def worse(self) -> int:
        """Recommendations that are truly worse than the default by more than the noise."""
        return sum(v.gain < -self.noise for v in self.verdicts)

    def write(self, folder: Path = RESULTS) -> None:
        """Beside the other results."""
        path = folder / f"{_PREFIX}{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Run:
    """A run that was written."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    verdicts = tuple(map(verdict_from, found.pop("verdicts")))
    return Run(**found, verdicts=verdicts)


def verdict_from(row: Mapping[str, Any]) -> Verdict:
    """One that was written."""
    sides = {name: Overrides(**row[name]) for name in ("before", "after")}
    return Verdict(**{**row, **sides})


def share_of(sides: Sequence[Overrides], what: str) -> float:
    """Share of all recommended settings that could be taken away."""
    count = sum(side.count for side in sides)
    return sum(getattr(side, what) for side in sides) / count if count else 0.0


def told(run: Run) -> str:
    """Lines for people."""
    verdicts = run.verdicts
    lines = [
        f"{len(verdicts)} studies of {run.trials} trials, noise {run.noise:.0%} per figure",
        f"default kept: {run.kept}, something else recommended: {len(verdicts) - run.kept}",
        f"recommended worse than the default by more than the noise: {run.worse}",
        f"worst true gain: {min(v.gain for v in verdicts):+.3f} (sum of logarithms)",
    ]
    for name, sides in (("before", [v.before for v in verdicts]),
                        ("after", [v.after for v in verdicts])):  # fmt: skip
        lines.append(
            f"{name} ablation: {np.mean([s.count for s in sides]):.2f} settings a study, "
            f"{share_of(sides, 'useless'):.1%} of them could be taken away at a loss under the "
            f"noise ({share_of(sides, 'in_vain'):.1%} at none), mean true gain "
            f"{np.mean([s.gain for s in sides]):+.3f}"
        )
    lines.append(f"trials of ablation: {np.mean([v.after.ablations for v in verdicts]):.1f}")
    if run.gain != 0:
        shares = [v.gain / v.best_gain for v in verdicts if v.best_gain > 0]
        lines.append(f"median share of the best balanced gain there is: {np.median(shares):.2f}")
    return "\n".join(lines)


def table(runs: Sequence[Run]) -> str:
    """Markdown."""
    lines = [
        (
            "| true gain of the best | studies | kept the default | recommended something "
            "| worse by more than the noise | worst true gain | median share of the gain "
            "| settings | of no use before | after ablation |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in sorted(runs, key=lambda r: np.inf if r.gain is None else r.gain):
        count, changed = len(run.verdicts), [v for v in run.verdicts if not v.kept]
        best = np.median([v.best_gain for v in run.verdicts])
        sort = {None: f"as drawn ({np.expm1(best):.0%})", 0.0: f"flat ({np.expm1(best):.1%})"}
        shares = [v.gain / v.best_gain for v in changed if v.best_gain > 0]
        before, after = [v.before for v in changed], [v.after for v in changed]
        lines.append(
            f"| {sort.get(run.gain) or f'{run.gain:.0%}'} | {count} "
            f"| {run.kept} ({run.kept / count:.1%}) | {len(changed) / count:.1%} | {run.worse} "
            f"| {min(v.gain for v in run.verdicts):+.3f} "
            f"| {np.median(shares) if shares else 0:.2f} "
            f"| {np.mean([s.count for s in after]) if after else 0:.1f} "
            f"| {share_of(before, 'useless'):.0%} | {share_of(after, 'useless'):.0%} |"
        )
    return "\n".join(lines)


def write_table(folder: Path = RESULTS) -> str:
    """The table of every run that was written, beside them."""
    runs = [read(path) for path in sorted(folder.glob(f"{_PREFIX}*.json"))]
    text = table(runs)
    (folder / f"{_PREFIX.rstrip('-')}.md").write_text(text + "\n", encoding="utf-8")
    return text
