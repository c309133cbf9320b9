"""Which load generator distorts what it measures, and when: all clients against one golden server.

    python -m benchmarks.load.compare_clients --vllm-python /path/to/env/bin/python

Peers are installed in environments of their own under a temporary folder (`--peers` keeps one).
`vllm bench serve` takes part if the Python of an environment with vLLM is given. For each client,
in turn (steady and cost in several rounds, every other round in the reverse order):

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
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from autotune import __version__
from benchmarks.load import clients, environments
from benchmarks.load.clients import LoadClient
from benchmarks.load.golden_run import (
    MAX_LAG_MS,
    MAX_SERVER_LATE_MS,
    MAX_TTFT_ERROR_MS,
    Realtime,
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
        steady: One run per round, the clients in turn.
        cost: Likewise.
        runs: Those of the ladder, and the middle one of the steady ones.
        server_ended: Whether the golden server gave out first.
    """

    client: LoadClient
    steady: list[Run]
    cost: list[Run]
    runs: list[Run] = field(default_factory=list)
    server_ended: bool = False

    @property
    def at_rest(self) -> Run:
        """The steady run with the middle p99 of the TTFT error; one without a problem if any."""
        good = [made for made in self.steady if not made.problem] or list(self.steady)
        return sorted(good, key=lambda made: made.ttft_error_p99_ms)[len(good) // 2]

    @property
    def sound(self) -> Run | None:
        """The fastest run without distortion."""
        good = [made for made in self.runs if not made.distorts]
        return max(good, key=lambda made: made.chunks_per_s, default=None)

    @property
    def keeping_up(self) -> Run | None:
        """The fastest run in which the client was not saturated."""
        good = [made for made in self.runs if not self.saturated(made)]
        return max(good, key=lambda made: made.chunks_per_s, default=None)

    def saturated(self, made: Run) -> bool:
        """Whether the client does worse than at rest, beyond the bounds."""
        return bool(made.problem) or not (
            made.ttft_error_p99_ms <= self.at_rest.ttft_error_p99_ms + MAX_TTFT_ERROR_MS
            and made.lag_p99_ms <= self.at_rest.lag_p99_ms + MAX_LAG_MS
        )

    @property
    def cpu_us_per_chunk(self) -> list[float]:
        """CPU time of client and children, slope between the two loads, one per round."""
        return [
            (long.cpu_s - short.cpu_s) / (long.chunks - short.chunks) * 1e6
            for short, long in zip(self.steady, self.cost, strict=True)
            if long.chunks > short.chunks and not (long.problem or short.problem)
        ]

    @property
    def counts_exact(self) -> bool:
        """In every run of both kinds."""
        return all(made.counts_exact for made in (*self.steady, *self.cost))


class Comparison:
    """Runs every client through steady, cost and ladder.

    Rung by rung, so that all see the same machine at about the same time.
    """

    def __init__(
        self, folder: Path, *, requests: int, cost_tokens: int, rounds: int, realtime: Realtime
    ) -> None:
        self._folder = folder
        self._rounds = rounds
        self._requests = requests
        self._cost_tokens = cost_tokens
        self._realtime = realtime

    def steady(self, known: Sequence[LoadClient]) -> list[Account]:
        """The steady runs alone, in turn."""
        accounts = [Account(client=c, steady=[], cost=[]) for c in known]
        for turn in range(self._rounds):
            for account in accounts if turn % 2 == 0 else reversed(accounts):
                account.steady.append(self._steadily(account.client, turn))
        return accounts

    def __call__(self, known: Sequence[LoadClient]) -> list[Account]:
        """All accounts, in the order of the clients."""
        accounts = [Account(client=c, steady=[], cost=[]) for c in known]
        for turn in range(self._rounds):
            for account in accounts if turn % 2 == 0 else reversed(accounts):
                self._round(account, turn)
        for account in accounts:
            account.runs.append(account.at_rest)
            if account.at_rest.distorts:
                account.runs.append(self._rung(account, LOWEST_RATE))
        climbing = [account for account in accounts if not account.at_rest.problem]
        for rate in LADDER:
            climbing = [account for account in climbing if self._climbs(account, rate)]
        return accounts

    def _round(self, account: Account, turn: int) -> None:
        client, tokens = account.client, self._cost_tokens
        account.steady.append(self._steadily(client, turn))
        account.cost.append(self._at(client, f"cost-{turn}", COST_RATE, tokens))

    def _steadily(self, client: LoadClient, turn: int) -> Run:
        return self._at(client, f"steady-{turn}", STEADY_RATE, 100)

    def _climbs(self, account: Account, rate: int) -> bool:
        """Whether a client goes on after a rung; a bad one, or a late server's, is tried twice."""
        for _ in range(2):
            made = self._rung(account, rate)
            keeps_up = not account.saturated(made)
            account.server_ended = keeps_up and made.server_late_p99_ms > MAX_SERVER_LATE_MS
            if keeps_up and not account.server_ended:
                account.runs.append(made)
                return True
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
    """The table for docs/benchmarks.md: middle of the rounds, lowest and highest in brackets."""
    head = ("client", "undistorted to, chunks/s", "keeps up to", "TTFT error p50, ms", "p99, ms")
    lines = [_line((*head, "counts", "CPU per chunk, µs")), "|---|---|---|---|---|---|---|"]
    for account in accounts:
        sound = account.sound
        more = " or more" if account.server_ended else ""
        undistorted = (
            f"distorts at {LOWEST_RATE * 100:,}" if sound is None else f"{sound.chunks_per_s:,.0f}"
        )
        keeping_up = account.keeping_up
        cells = (
            f"{account.client.name} {account.client.version}",
            undistorted + (more if sound is not None and sound is keeping_up else ""),
            "" if keeping_up is None else f"{keeping_up.chunks_per_s:,.0f}{more}",
            _middle([made.ttft_error_p50_ms for made in account.steady], 2),
            _middle([made.ttft_error_p99_ms for made in account.steady], 2),
            account.at_rest.problem or ("exact" if account.counts_exact else "WRONG"),
            _middle(account.cpu_us_per_chunk, 1),
        )
        lines.append(_line(cells))
    return "\n".join(lines)


def steady_markdown(accounts: Sequence[Account]) -> str:
    """The table of the steady runs alone."""
    lines = [_line(("client", "TTFT error p50, ms", "p99, ms", "counts")), "|---|---|---|---|"]
    lines += [
        _line(
            (
                f"{account.client.name} {account.client.version}",
                _middle([made.ttft_error_p50_ms for made in account.steady], 2),
                _middle([made.ttft_error_p99_ms for made in account.steady], 2),
                account.at_rest.problem or ("exact" if account.counts_exact else "WRONG"),
            )
        )
        for account in accounts
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _middle(values: Sequence[float], digits: int) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    low, middle, high = min(known), median(known), max(known)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _known(arguments: argparse.Namespace, folder: Path) -> tuple[list[LoadClient], list[str]]:
    """Every client that takes part, installed; and a line for each that cannot."""
    vllm: Path | None = arguments.vllm_python
    known, absent = [clients.ours(__version__)], []
    makers = {"guidellm": clients.guidellm, "aiperf": clients.aiperf}
    for name, make in makers.items():
        try:
            found = environments.environment(folder, name)
        except (subprocess.SubprocessError, OSError) as error:
            absent.append(f"{name}: not installed: {error}")
            continue
        tokenizer = environments.tokenizer(folder, found / "python")
        known.append(make(found, environments.version(found / "python", name), tokenizer))
    if vllm is None:
        absent.append("vllm bench serve: no environment given")
    else:
        tokenizer = environments.tokenizer(folder, vllm)
        version = environments.version(vllm, "vllm")
        known.insert(1, clients.vllm_bench(vllm, version, tokenizer))
    return [c for c in known if not arguments.only or c.name in arguments.only], absent


def main() -> None:
    """Install the peers, run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm-python", type=Path, help="Python of an environment with vLLM")
    parser.add_argument("--peers", type=Path, help="folder to keep the peers' environments in")
    parser.add_argument("--only", nargs="*", help="names of clients to run")
    parser.add_argument("--quick", action="store_true", help="fewer requests, shorter answers")
    parser.add_argument("--rounds", type=int, default=3, help="of the steady and the cost runs")
    parser.add_argument("--steady-only", action="store_true", help="TTFT error and counts alone")
    parser.add_argument(
        "--realtime",
        type=Realtime,
        choices=list(Realtime),
        default=Realtime.NOBODY,
        help="who gets real-time priority from here while requests run (needs root): the golden "
        "server, or all on a machine that is not idle",
    )
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as temporary:
        known, absent = _known(arguments, arguments.peers or Path(temporary))
        comparison = Comparison(
            Path(temporary) / "runs",
            requests=200 if arguments.quick else 300,
            cost_tokens=300 if arguments.quick else 800,
            rounds=arguments.rounds,
            realtime=arguments.realtime,
        )
        compared = (comparison.steady if arguments.steady_only else comparison)(known)
    if arguments.json is not None:
        made = [made for a in compared for made in (*a.steady, *a.cost, *a.runs)]
        rows: list[dict[str, Any]] = [asdict(each) for each in made]
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    table = steady_markdown if arguments.steady_only else markdown
    print("\n".join((table(compared), *absent)))


if __name__ == "__main__":
    main()
