"""Hold running servers against each other: each is measured once a round, in turn.

    python -m benchmarks.gpu.in_turn OUT.jsonl default=http://127.0.0.1:18401 \
        fp8=http://127.0.0.1:18402 [--rounds 6] [--against default]

While one is measured the others are idle; rounds go forward and backward, so that a drift of the
machine favours nobody. What is measured is `autotune probe URL --tests 2-4`. OUT gets a line for
every server and round; printed is each metric against the first server's of the same round:
geometric mean of the ratios, with a 95% interval by Student's t over the rounds. Restarts are not
in these intervals: they compare servers, not starts.
"""

import argparse
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from autotune.load import formulas

SHOWN: Final = (
    "output_tokens_per_s", "ttft_short_ns", "ttft_loaded_p50_ns", "tpot_p50_ns", "itl_p50_ns",
    "ttft_8k_ns", "ttft_16k_ns", "ttft_32k_ns", "decode_32k_tokens_per_s",
)  # fmt: skip

Rounds = dict[str, list[dict[str, float]]]
"""For each server the metrics of its rounds, by tag."""


def measured(url: str, tests: str, requests: int) -> dict[str, float]:
    """The metrics of one server, measured once; of a test that failed there are none."""
    command = [sys.executable, "-m", "autotune", "probe", url, "--json", "--tests", tests,
               "--requests", str(requests)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    sys.stderr.write(done.stderr)
    metrics: dict[str, float] = {}
    for line in done.stdout.splitlines():
        metrics |= {k: v for k, v in json.loads(line)["metrics"].items() if v is not None}
    return metrics


def read(path: Path) -> Rounds:
    """What an earlier run wrote."""
    rounds: Rounds = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        rounds[row["server"]].append(row["metrics"])
    return dict(rounds)


def table(rounds: Rounds, against: str | None = None) -> Iterable[str]:
    """Every server against one of them, the first if none is named, as Markdown."""
    first = against or next(iter(rounds))
    others = [name for name in rounds if name != first]
    yield "| metric | " + " | ".join((first, *(f"{name} / {first}" for name in others))) + " |"
    yield "|---" * (len(rounds) + 1) + "|"
    for tag in SHOWN:
        base = [row.get(tag) for row in rounds[first]]
        known = [value for value in base if value is not None]
        if not known:
            continue
        cells = [f"{sum(known) / len(known):.6g}"]
        cells += [ratio(base, [row.get(tag) for row in rounds[name]]) for name in others]
        yield f"| {tag} | {' | '.join(cells)} |"


def ratio(base: Sequence[float | None], other: Sequence[float | None]) -> str:
    """Other over base, paired by round."""
    return mean_ratio([b / a for a, b in zip(base, other, strict=False) if a and b])


def mean_ratio(ratios: Sequence[float]) -> str:
    """The geometric mean with its 95% interval; a dash for none."""
    if not ratios:
        return "-"
    logs = [math.log(value) for value in ratios]
    middle = f"{math.exp(sum(logs) / len(logs)):.3f}"
    interval = formulas.mean_interval(logs)
    if interval is None:
        return middle
    return f"{middle} ({math.exp(interval.low):.3f} to {math.exp(interval.high):.3f})"


def main() -> None:
    """Measure in turn, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("servers", nargs="*", metavar="NAME=URL", help="none: print OUT's table")
    parser.add_argument("--against", metavar="NAME", help="hold the others against this one")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tests", default="2-4")
    parser.add_argument("--requests", type=int, default=300)
    chosen = parser.parse_args()
    servers = [tuple(text.split("=", 1)) for text in chosen.servers]
    for round_ in range(chosen.rounds if servers else 0):
        for name, url in servers if round_ % 2 == 0 else reversed(servers):
            metrics = measured(url, chosen.tests, chosen.requests)
            with chosen.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"round": round_, "server": name, "metrics": metrics}) + "\n")
    sys.stdout.write("\n".join(table(read(chosen.out), chosen.against)) + "\n")


if __name__ == "__main__":
    main()
