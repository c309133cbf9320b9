"""What docs/search.md shows of the benchmark's runs: tables, ratios and curves.

    python -m benchmarks.search.results TRACES.jsonl --name synthetic

writes `benchmarks/search/results/NAME.json` (every trace) and `NAME.svg`, and the tables into
docs/search.md.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from autotune.report.svg.canvas import Canvas, Linear, Size
from benchmarks.search.strategies import STRATEGIES
from benchmarks.search.traces import MEMORY, Trace, hours_to, read_traces, summary

RESULTS: Final = Path(__file__).resolve().parent / "results"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "search.md"
OURS: Final = "autotune, prior wrong"
WITHOUT: Final = "autotune, no prior"
SHOWN: Final = (
    "random", "TPE, FAIL", "one at a time", "joint TPE, Sobol start, screened, seeds",
    "GP, median, seeds",
    "autotune, no prior", "autotune, prior of another card", "autotune, prior wrong",
)  # fmt: skip
"""Strategies of the curves, drawn in this order."""
_COLOURS: Final = (
    "#888888",
    "#c0392b",
    "#8e44ad",
    "#d68910",
    "#7e5109",
    "#2e86c1",
    "#17a589",
    "#1e8449",
)
_SIZE: Final = Size(
    width=760,
    height=420,
    style="text{font:12px sans-serif;fill:#444}path{fill:none;stroke-width:2}.axis{stroke:#999}"
    ".grid{stroke:#e5e5e5;stroke-width:1}"
    + "".join(f".c{i}{{stroke:{colour}}}" for i, colour in enumerate(_COLOURS)),
)


def median_curve(traces: Sequence[Trace], hours: Sequence[float]) -> list[float]:
    """Median share after so many GPU hours, up to where half of the traces have ended."""
    rows = []
    for trace in traces:
        at = np.searchsorted(np.asarray(trace.gpu_s) / 3600, hours, side="right") - 1
        rows.append([trace.shares[i] if i >= 0 else 0.0 for i in at])
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def picture(traces: Sequence[Trace], hours: float = 3.5) -> str:
    """Curves of the median share against GPU time, as an SVG."""
    canvas = Canvas(_SIZE, "Share of the true front's hypervolume against GPU hours")
    x, y = Linear(0, hours, 50, 470), Linear(0, 1, 380, 20)
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0):
        canvas.line(50, y(share), 470, y(share), "grid")
        canvas.text(44, y(share) + 4, f"{share:g}", "", "end")
    for mark in np.arange(0, hours + 0.1, 0.5):
        canvas.text(x(mark), 398, f"{mark:g}", "", "middle")
    canvas.line(50, 380, 470, 380, "axis")
    canvas.text(260, 415, "GPU hours", "", "middle")
    grid = np.linspace(0, hours, 141)
    for index, name in enumerate(SHOWN):
        mine = [t for t in traces if t.strategy == name]
        if not mine:
            continue
        end = statistics.median(t.gpu_s[-1] / 3600 for t in mine)
        run = [h for h in grid if h <= end]
        points = [(x(h), y(s)) for h, s in zip(run, median_curve(mine, run), strict=True)]
        canvas.polyline(points, f"c{index}")
        height = 380 - 24 * (len(SHOWN) - index)
        canvas.line(490, height - 4, 515, height - 4, f"c{index}")
        canvas.text(521, height, name, "")
    return canvas.svg()


def figures(traces: Sequence[Trace]) -> str:
    """Ours beside the figures that were asked for, a Markdown table."""
    mine = [t for t in traces if t.strategy == OURS]
    at20, at40 = ([t.shares[mark - 1] for t in mine] for mark in (20, 40))
    late = [kind for t in mine for kind in t.died[10:40]]
    rows = [
        ("share at 20 trials, median", "0.90", f"{statistics.median(at20):.3f}"),
        ("share at 40 trials, median", "0.95", f"{statistics.median(at40):.3f}"),
        ("share at 40 trials, worst tenth", "0.90", f"{np.quantile(at40, 0.1):.3f}"),
        ("share at 40 trials, worst", "", f"{min(at40):.3f}"),
        ("GPU hours to 95%, median", "", f"{_median_hours(mine):.2f}"),
    ]
    for name, asked in (("random", "1/3"), ("TPE, FAIL", "1/2")):
        rows.append((f"... as a share of {name}'s", asked, _ratio(mine, traces, name)))
    out = sum(kind in MEMORY for kind in late) / max(1, len(late))
    rows.append(("out of memory after the first ten", "under 5%", f"{out:.1%}"))
    times = [seconds for t in mine for seconds in t.proposal_s[1:40]]
    if times:
        spent = f"{statistics.median(times):.2f}, longest {max(times):.2f}"
        rows.append(("processor seconds of a proposal", "under 0.5", spent))
    pairs = _pairs(mine, [t for t in traces if t.strategy == WITHOUT])
    wins = sum(a >= b for a, b in pairs)
    behind = max((b - a for a, b in pairs), default=0.0)
    told = f"{wins} of {len(pairs)}" if pairs else "not run"
    told += f", behind by at most {behind:.3f}" if behind > 0 else ""
    rows.append((f"at least as good as `{WITHOUT}` at 40", "always", told))
    lines = [f"| {what} | {asked} | {found} |" for what, asked, found in rows]
    return "\n".join(["| what | asked | measured |", "|---|---|---|", *lines])


def _median_hours(traces: Sequence[Trace]) -> float:
    return statistics.median(hours_to(t, 0.95) for t in traces)


def _ratio(mine: Sequence[Trace], traces: Sequence[Trace], name: str) -> str:
    """Median GPU time over theirs; a bound from above where they did not all get there.

    A run that ended short of 95% counts with the time that it had spent: it would have taken more.
    """
    theirs = [t for t in traces if t.strategy == name]
    if not theirs:
        return "not run"
    hours = [min(hours_to(t, 0.95), t.gpu_s[-1] / 3600) for t in theirs]
    short = sum(t.shares[-1] < 0.95 for t in theirs)
    ratio = f"{_median_hours(mine) / statistics.median(hours):.2f}"
    if not short:
        return ratio
    trials = max(len(t.shares) for t in theirs)
    return f"at most {ratio}: {short} of {len(theirs)} never got there in {trials} trials"


def _pairs(mine: Sequence[Trace], theirs: Sequence[Trace]) -> list[tuple[float, float]]:
    """Shares at 40 trials on the same landscape."""
    other = {t.seed: t for t in theirs}
    return [(t.shares[39], other[t.seed].shares[39]) for t in mine if t.seed in other]


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--name", required=True)
    parser.add_argument("--hours", type=float, default=3.5, help="where the curves end")
    options = parser.parse_args()
    traces = [trace for path in options.traces for trace in read_traces(path)]
    base = RESULTS / options.name
    text = publish(traces, base, options.hours)
    PAGE.write_text(with_tables(PAGE.read_text(), options.name, text))
    print(text)


def publish(traces: Sequence[Trace], base: Path, hours: float = 3.5) -> str:
    """Write traces and their picture, and give back the tables made of them.

    Args:
        traces: Of a set of landscapes, in any order.
        base: The files' path, less its suffix.
        hours: Where the curves end.
    """
    order = list(STRATEGIES)
    sorted_traces = sorted(traces, key=lambda t: (order.index(t.strategy), t.seed))
    kept = [_kept(trace) for trace in sorted_traces]
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n")
    if len({trace.strategy for trace in traces}) > 1:
        base.with_suffix(".svg").write_text(picture(sorted_traces, hours))
    return tables([_read(row) for row in kept])  # as anybody will make them again


def with_tables(page: str, name: str, text: str) -> str:
    """A page whose tables of one name are these."""
    return filled(page, f"results {name}", text)


def filled(page: str, mark: str, text: str) -> str:
    """A page with a text between one of its marks and the end that follows it."""
    begin, end = f"<!-- {mark} -->\n", "<!-- end -->"
    before, rest = page.split(begin)
    return before + begin + text + end + rest[rest.index(end) + len(end) :]


def published(name: str) -> list[Trace]:
    """The traces that are kept beside a table."""
    rows = json.loads((RESULTS / name).with_suffix(".json").read_text())
    return [_read(row) for row in rows]


def _read(row: dict[str, Any]) -> Trace:
    return Trace(
        strategy=row["strategy"],
        seed=row["seed"],
        shares=row["shares"],
        gpu_s=row["gpu_s"],
        died=[row["died"].get(str(i), "") for i in range(len(row["shares"]))],
        proposal_s=row.get("proposal_s", []),
    )


def tables(traces: Sequence[Trace]) -> str:
    """What docs/search.md shows."""
    return f"{figures(traces)}\n\n{summary(traces, [10, 20, 40], timed=False)}\n"


def _kept(trace: Trace) -> dict[str, Any]:
    """With decimals enough to make the tables again: a bound of 0.95 is decided by them."""
    return {
        "strategy": trace.strategy,
        "seed": trace.seed,
        "shares": [round(share, 6) for share in trace.shares],
        "gpu_s": [round(spent, 1) for spent in trace.gpu_s],
        "died": {str(i): kind for i, kind in enumerate(trace.died) if kind},
        "proposal_s": [round(spent, 3) for spent in trace.proposal_s[:40]],
    }


if __name__ == "__main__":
    main()
