"""What a run of the benchmark leaves behind, and the tables made of it."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEMORY = {"gpu_oom", "host_oom", "kv_too_small", "memory_limit"}
REFUSED = {"unsupported_combination"}


@dataclass(frozen=True)
class Trace:
    """One strategy on one landscape.

    Attributes:
        shares: Share of the true front's hypervolume after each trial.
        gpu_s: GPU time after each trial.
        died: Of each trial: "" if it was measured, else the kind of its failure.
        proposal_s: Seconds of processor time of the proposals.
    """

    strategy: str
    seed: int
    shares: list[float]
    gpu_s: list[float]
    died: list[str]
    proposal_s: list[float]


def read_traces(path: Path) -> list[Trace]:
    """Traces of earlier runs; none if there is no such file."""
    if not path.exists():
        return []
    return [Trace(**json.loads(line)) for line in path.read_text().splitlines()]


def summary(traces: Sequence[Trace], marks: Sequence[int], *, timed: bool = True) -> str:
    """A Markdown table: medians over the landscapes, and the worst tenth at the last mark.

    Args:
        traces: Of every strategy.
        marks: Trials after which shares are shown.
        timed: Whether to show the time of proposals.
    """
    head = ["strategy", "landscapes", *(f"{m} trials" for m in marks), "worst tenth",
            "out of memory", "refused", "GPU h to 90%", "GPU h to 95%"]  # fmt: skip
    head += ["s/proposal"] if timed else []
    rows = [head, ["---"] * len(head)]
    for name in dict.fromkeys(t.strategy for t in traces):
        mine = [t for t in traces if t.strategy == name]
        medians = (statistics.median(t.shares[mark - 1] for t in mine) for mark in marks)
        cells = [name, str(len(mine)), *(f"{median:.2f}" for median in medians)]
        cells.append(f"{np.quantile([t.shares[marks[-1] - 1] for t in mine], 0.1):.2f}")
        ends = [kind for t in mine for kind in t.died[10 : marks[-1]]] or [""]
        shares = (sum(kind in kinds for kind in ends) / len(ends) for kinds in (MEMORY, REFUSED))
        cells += [f"{share:.0%}" for share in shares]
        cells += [_hours(mine, 0.9), _hours(mine, 0.95)]
        if timed:
            cells.append(f"{statistics.median(t.proposal_s[-1] for t in mine):.2f}")
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def hours_to(trace: Trace, share: float) -> float:
    """GPU hours until a share is reached; infinite if it never is."""
    pairs = zip(trace.shares, trace.gpu_s, strict=True)
    return next((gpu / 3600 for reached, gpu in pairs if reached >= share), float("inf"))


def _hours(traces: Sequence[Trace], share: float) -> str:
    """Median GPU hours until a share is reached; `>` where the median never is."""
    middle = statistics.median(hours_to(trace, share) for trace in traces)
    longest = max(t.gpu_s[-1] for t in traces) / 3600
    return f"{middle:.1f}" if np.isfinite(middle) else f">{longest:.1f}"
