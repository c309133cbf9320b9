"""Which load generator distorts what it measures, and when: all clients against one golden server.

    python -m benchmarks.load.compare_clients --vllm-python /path/to/env/bin/python

Peers are installed in environments of their own under a temporary folder (`--peers` keeps one).
`vllm bench serve` takes part if the Python of an environment with vLLM is given. The golden
server (`tests/support/golden_server.py`) knows when it sent each chunk, on the clock of the whole
machine. For each client, one after the other at each rate:

steady   100 streams at 50 tokens/s: TTFT error against the server's own stamps, counts
cost     the same with longer answers: CPU time per chunk is the slope between the two, so that
         starting up does not count
ladder   faster and faster streams, until the client distorts: p99 TTFT error over 5 ms, or p99
         time from the end of one answer to the next request over 10 ms, as the server sees it

TTFT error is the client's TTFT less the server's (first chunk sent - request read). The first
request of each stream is left out: it opens a connection.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from autotune import __version__
from benchmarks.load import clients, environments
from benchmarks.load.clients import Job, LoadClient
from tests.support.golden import golden_server

STREAMS = 100
TTFT_MS, END_SPREAD_MS = 50.0, 40.0
STEADY_RATE = 50
MAX_TTFT_ERROR_MS, MAX_LAG_MS = 5.0, 10.0
LADDER = (100, 150, 200, 300, 400, 600, 800, 1200, 1600)
STEP_S = 2.0
TIMEOUT_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One load as both sides tell it; times in ms."""

    client: str
    rate: int
    chunks: int = 0
    chunks_per_s: float = 0.0
    ttft_error_p50_ms: float = float("nan")
    ttft_error_p99_ms: float = float("nan")
    lag_p99_ms: float = float("nan")
    server_late_p99_ms: float = float("nan")
    counts_exact: bool = False
    cpu_s: float = 0.0
    problem: str = ""

    @property
    def distorts(self) -> bool:
        """Whether a figure of this run is the client's rather than the server's."""
        return bool(self.problem) or not (
            self.ttft_error_p99_ms <= MAX_TTFT_ERROR_MS and self.lag_p99_ms <= MAX_LAG_MS
        )


def run(client: LoadClient, *, rate: int, tokens: int, requests: int, folder: Path) -> Run:
    """One load at `rate` tokens/s and stream."""
    folder.mkdir(parents=True, exist_ok=True)
    script = {"ttft_ms": TTFT_MS, "itl_ms": 1000 / rate, "end_spread_ms": END_SPREAD_MS}
    with golden_server(**script) as golden:
        job = Job(golden.base_url, requests, STREAMS, tokens, folder)
        cpu_s, problem = _execute(client.command(job), folder)
        rows = sorted(golden.brief(), key=lambda row: row["received_ns"])[-requests:]
    if problem or len(rows) < requests:
        return Run(client=client.name, rate=rate, cpu_s=cpu_s, problem=problem or "requests lost")
    account = sorted(client.read(job))
    if len(account) != requests:
        return Run(client=client.name, rate=rate, cpu_s=cpu_s, problem="requests not accounted for")
    return _judge(client.name, rate, rows, account, cpu_s)


def _judge(
    name: str, rate: int, rows: list[dict[str, Any]], account: list[clients.Request], cpu_s: float
) -> Run:
    truth = np.array([row["first_send_ns"] - row["received_ns"] for row in rows], dtype=float)
    told = np.array([np.nan if r[1] is None else r[1] for r in account], dtype=float)
    error_ms = (told - truth)[STREAMS:] / 1e6
    starts = np.array([row["received_ns"] for row in rows], dtype=float)
    ends = np.sort([row["ended_ns"] for row in rows])
    lag_ms = (starts[STREAMS:] - ends[: len(starts) - STREAMS]) / 1e6
    chunks = sum(row["chunks"] for row in rows)
    exact = all(r[3] for r in account) and (
        sum(r[2] for r in account) == sum(row["output_tokens"] for row in rows)
    )
    return Run(
        client=name,
        rate=rate,
        chunks=chunks,
        chunks_per_s=float(chunks / ((ends[-1] - starts[0]) / 1e9)),
        ttft_error_p50_ms=float(np.median(np.abs(error_ms))),
        ttft_error_p99_ms=float(np.percentile(np.abs(error_ms), 99)),
        lag_p99_ms=float(np.percentile(lag_ms, 99)),
        server_late_p99_ms=float(np.percentile([row["late_ns"] / 1e6 for row in rows], 99)),
        counts_exact=exact,
        cpu_s=cpu_s,
    )


def _execute(command: list[str], folder: Path) -> tuple[float, str]:
    """CPU seconds of a command and its children, and what went wrong."""
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with (folder / "client.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        guard = threading.Timer(TIMEOUT_S, _kill_tree, [process.pid])
        guard.start()
        _, status, usage = os.wait4(process.pid, 0)  # the one call that tells of children too
        late = not guard.is_alive()
        guard.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if late:
        return 0.0, f"not done after {TIMEOUT_S:g} s"
    problem = "" if process.returncode == 0 else f"exit code {process.returncode}"
    return usage.ru_utime + usage.ru_stime, problem


def _kill_tree(pid: int) -> None:
    for child in psutil.Process(pid).children(recursive=True):
        child.kill()
    psutil.Process(pid).kill()


def compare(known: list[LoadClient], folder: Path, *, quick: bool) -> dict[str, Any]:
    """Every client through steady, cost and ladder; rung by rung, so that all see one machine."""
    requests = 200 if quick else 300
    runs: list[Run] = []

    def at(client: LoadClient, name: str, rate: int, tokens: int) -> Run:
        where = folder / f"{client.name.replace(' ', '_')}-{name}"
        made = run(client, rate=rate, tokens=tokens, requests=requests, folder=where)
        runs.append(made)
        print(f"{name:>12} {made}", flush=True)
        return made

    # The better of two, for every client alike: the machine may have been disturbed.
    twice = [{c.name: at(c, "steady", STEADY_RATE, 100) for c in known} for _ in range(2)]
    steady = {
        name: min(
            (made[name] for made in twice), key=lambda r: (bool(r.problem), r.ttft_error_p99_ms)
        )
        for name in twice[0]
    }
    cost = {c.name: at(c, "cost", STEADY_RATE, 200 if quick else 400) for c in known}
    best: dict[str, Run | None] = dict.fromkeys(steady)
    climbing = {c.name: c for c in known}
    for name, made in steady.items():
        best[name] = None if made.distorts else made
        if made.distorts:
            climbing.pop(name)
    for rate in LADDER:
        for client in list(climbing.values()):
            made = at(client, f"ladder-{rate}", rate, round(rate * STEP_S))
            if made.distorts:  # once more, for the machine may have been disturbed
                made = at(client, f"ladder-{rate}-again", rate, round(rate * STEP_S))
            if made.distorts:
                climbing.pop(client.name)
            else:
                best[client.name] = made
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "clients": {c.name: c.version for c in known},
        "table": {
            c.name: _row(steady[c.name], cost[c.name], best[c.name], c.name in climbing)
            for c in known
        },
        "runs": [asdict(made) for made in runs],
    }


def _row(steady: Run, cost: Run, best: Run | None, unbroken: bool) -> dict[str, Any]:
    chunks = cost.chunks - steady.chunks
    return {
        "chunks_per_s_undistorted": None if best is None else round(best.chunks_per_s),
        "ladder_ended": not unbroken,
        "ttft_error_p50_ms": round(steady.ttft_error_p50_ms, 3),
        "ttft_error_p99_ms": round(steady.ttft_error_p99_ms, 3),
        "counts_exact": steady.counts_exact and cost.counts_exact,
        "cpu_us_per_chunk": round((cost.cpu_s - steady.cpu_s) / chunks * 1e6, 1)
        if chunks > 0
        else None,
    }


def markdown(result: dict[str, Any]) -> str:
    """The table for docs/benchmarks.md."""
    lines = [
        "| client | chunks/s before it distorts | TTFT error p50 | p99 | counts | CPU per chunk |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["table"].items():
        rate = row["chunks_per_s_undistorted"]
        shown = "distorts at 5,000" if rate is None else f"{rate:,}"
        more = "" if row["ladder_ended"] else " or more"
        cpu = row["cpu_us_per_chunk"]
        lines.append(
            f"| {name} {result['clients'][name]} | {shown}{more} | {row['ttft_error_p50_ms']} ms "
            f"| {row['ttft_error_p99_ms']} ms | {'exact' if row['counts_exact'] else 'WRONG'} "
            f"| {'-' if cpu is None else f'{cpu} µs'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Install the peers, run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm-python", type=Path, help="Python of an environment with vLLM")
    parser.add_argument("--peers", type=Path, help="folder to keep the peers' environments in")
    parser.add_argument("--only", nargs="*", help="names of clients to run")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as temporary:
        folder = arguments.peers or Path(temporary)
        bins = {name: environments.environment(folder, name) for name in environments.PEERS}
        tokenizer = environments.tokenizer(folder, bins["aiperf"] / "python")
        version = {n: environments.version(b / "python", n) for n, b in bins.items()}
        known = [
            clients.ours(__version__),
            clients.guidellm(bins["guidellm"], version["guidellm"], tokenizer),
            clients.aiperf(bins["aiperf"], version["aiperf"], tokenizer),
        ]
        if arguments.vllm_python is not None:
            found = environments.version(arguments.vllm_python, "vllm")
            known.insert(1, clients.vllm_bench(arguments.vllm_python, found, tokenizer))
        if arguments.only:
            known = [client for client in known if client.name in arguments.only]
        result = compare(known, Path(temporary) / "runs", quick=arguments.quick)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1))
    print(markdown(result))


if __name__ == "__main__":
    main()
