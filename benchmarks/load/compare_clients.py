"""Which load generator distorts what it measures, and when: all clients against one golden server.

    python -m benchmarks.load.compare_clients --vllm-python /path/to/env/bin/python

Peers are installed in environments of their own under a temporary folder (`--peers` keeps one).
`vllm bench serve` takes part if the Python of an environment with vLLM is given. For each client,
one after the other at each rate:

steady   100 streams at 50 tokens/s: TTFT error against the server's own stamps, counts
cost     twice as fast, with longer answers: CPU time per chunk is the slope between the two, so
         that starting up does not count
ladder   faster and faster streams. A client distorts when its p99 TTFT error is over 5 ms, or the
         p99 time from the end of one answer to the next request over 10 ms, as the server sees it.
         It is saturated when either is that much worse than its own at the steady rate; then it
         climbs no further.

How one load is measured is in `golden_run`.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autotune import __version__
from benchmarks.load import clients, environments
from benchmarks.load.clients import LoadClient
from benchmarks.load.golden_run import (
    MAX_LAG_MS,
    MAX_SERVER_LATE_MS,
    MAX_TTFT_ERROR_MS,
    Run,
    run,
)

LOWEST_RATE, STEADY_RATE, COST_RATE = 10, 50, 100  # tokens/s and stream
LADDER = (100, 200, 400, 800, 1200, 1600)
STEP_S = 2.0


@dataclass(kw_only=True)
class Account:
    """What was found out about one client.

    Attributes:
        steady: The better of two runs.
        sound: The fastest run without distortion.
        keeping_up: The fastest run that was not saturated.
        server_ended: Whether the golden server gave out first.
    """

    client: LoadClient
    steady: Run
    cost: Run
    runs: list[Run] = field(default_factory=list)
    server_ended: bool = False

    @property
    def sound(self) -> Run | None:
        """The fastest run without distortion."""
        good = [made for made in self.runs if not made.distorts]
        return max(good, key=lambda made: made.chunks_per_s, default=None)

    @property
    def keeping_up(self) -> Run:
        """The fastest run in which the client was not saturated."""
        good = [made for made in self.runs if not self.saturated(made)]
        return max(good, key=lambda made: made.chunks_per_s)

    def saturated(self, made: Run) -> bool:
        """Whether the client does worse than at rest, beyond the bounds."""
        return bool(made.problem) or not (
            made.ttft_error_p99_ms <= self.steady.ttft_error_p99_ms + MAX_TTFT_ERROR_MS
            and made.lag_p99_ms <= self.steady.lag_p99_ms + MAX_LAG_MS
        )

    @property
    def cpu_us_per_chunk(self) -> float | None:
        """CPU time of client and children, slope between the two loads."""
        chunks = self.cost.chunks - self.steady.chunks
        return (self.cost.cpu_s - self.steady.cpu_s) / chunks * 1e6 if chunks > 0 else None


class Comparison:
    """Runs every client through steady, cost and ladder.

    Rung by rung, so that all see the same machine at about the same time.
    """

    def __init__(self, folder: Path, *, requests: int, cost_tokens: int, realtime: bool) -> None:
        self._folder = folder
        self._requests = requests
        self._cost_tokens = cost_tokens
        self._realtime = realtime

    def __call__(self, known: Sequence[LoadClient]) -> list[Account]:
        """All accounts, in the order of the clients."""
        twice = [[self._at(c, "steady", STEADY_RATE, 100) for c in known] for _ in range(2)]
        # The better of two, for every client alike: the machine may have been disturbed.
        steady = [
            min(pair, key=lambda r: (bool(r.problem), r.ttft_error_p99_ms))
            for pair in zip(*twice, strict=True)
        ]
        cost = [self._at(c, "cost", COST_RATE, self._cost_tokens) for c in known]
        accounts = [
            Account(client=c, steady=s, cost=k, runs=[s])
            for c, s, k in zip(known, steady, cost, strict=True)
        ]
        for account in accounts:
            if account.steady.distorts:
                account.runs.append(self._rung(account, LOWEST_RATE))
        climbing = [account for account in accounts if not account.steady.problem]
        for rate in LADDER:
            climbing = [account for account in climbing if self._climbs(account, rate)]
        return accounts

    def _climbs(self, account: Account, rate: int) -> bool:
        """Whether a client goes on after a rung; a bad one is tried twice."""
        for _ in range(2):
            made = self._rung(account, rate)
            if not account.saturated(made):
                account.server_ended = made.server_late_p99_ms > MAX_SERVER_LATE_MS
                if not account.server_ended:
                    account.runs.append(made)
                return not account.server_ended
        return False

    def _rung(self, account: Account, rate: int) -> Run:
        return self._at(account.client, f"ladder-{rate}", rate, round(rate * STEP_S))

    def _at(self, client: LoadClient, name: str, rate: int, tokens: int) -> Run:
        made = run(
            client,
            rate=rate,
            tokens=tokens,
            requests=self._requests,
            folder=self._folder / f"{client.name.replace(' ', '_')}-{name}",
            realtime=self._realtime,
        )
        print(f"{name:>12} {made}", flush=True)
        return made


def markdown(accounts: Sequence[Account]) -> str:
    """The table for docs/benchmarks.md."""
    lines = [
        "| client | undistorted to, chunks/s | keeps up to | TTFT error p50 | p99 | counts | CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for account in accounts:
        steady, sound = account.steady, account.sound
        more = " or more" if account.server_ended else ""
        undistorted = (
            f"distorts at {LOWEST_RATE * 100:,}" if sound is None else f"{sound.chunks_per_s:,.0f}"
        )
        exact = steady.counts_exact and account.cost.counts_exact
        cpu = account.cpu_us_per_chunk
        lines.append(
            f"| {account.client.name} {account.client.version} "
            f"| {undistorted}{more if sound is account.keeping_up else ''} "
            f"| {account.keeping_up.chunks_per_s:,.0f}{more} "
            f"| {steady.ttft_error_p50_ms:.2f} ms | {steady.ttft_error_p99_ms:.2f} ms "
            f"| {'exact' if exact else 'WRONG'} | {'-' if cpu is None else f'{cpu:.1f} µs'} |"
        )
    return "\n".join(lines)


def _known(arguments: argparse.Namespace, folder: Path) -> list[LoadClient]:
    """Every client that takes part, installed."""
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
    return [c for c in known if not arguments.only or c.name in arguments.only]


def main() -> None:
    """Install the peers, run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm-python", type=Path, help="Python of an environment with vLLM")
    parser.add_argument("--peers", type=Path, help="folder to keep the peers' environments in")
    parser.add_argument("--only", nargs="*", help="names of clients to run")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="real-time priority while requests run, on a machine that is not idle (needs root)",
    )
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as temporary:
        known = _known(arguments, arguments.peers or Path(temporary))
        compared = Comparison(
            Path(temporary) / "runs",
            requests=200 if arguments.quick else 300,
            cost_tokens=300 if arguments.quick else 800,
            realtime=arguments.realtime,
        )(known)
    if arguments.json is not None:
        rows: list[dict[str, Any]] = [asdict(made) for a in compared for made in a.runs]
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    print(markdown(compared))


if __name__ == "__main__":
    main()
