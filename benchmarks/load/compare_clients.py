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
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autotune import __version__
from benchmarks.load import clients, environments
from benchmarks.load.client_account import (
    LOWEST_RATE,
    Account,
    markdown,
    markdown_without_ladder,
)
from benchmarks.load.clients import LoadClient
from benchmarks.load.golden_run import MAX_SERVER_LATE_MS, Realtime, Run, run

STEADY_RATE, COST_RATE = 50, 100  # tokens/s and stream
LADDER = (100, 200, 400, 800, 1200, 1600)
STEP_S = 2.0


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

    def rounds(self, known: Sequence[LoadClient], *, with_cost: bool = True) -> list[Account]:
        """The steady runs, and those that tell the cost, the clients in turn."""
        accounts = [Account(client=c, steady=[], cost=[]) for c in known]
        for turn in range(self._rounds):
            for account in accounts if turn % 2 == 0 else reversed(accounts):
                self._round(account, turn, with_cost=with_cost)
        return accounts

    def __call__(self, known: Sequence[LoadClient]) -> list[Account]:
        """All accounts, in the order of the clients."""
        accounts = self.rounds(known)
        for account in accounts:
            account.runs.append(account.at_rest)
            if account.at_rest.distorts:
                account.runs.append(self._rung(account, LOWEST_RATE))
        climbing = [account for account in accounts if not account.at_rest.problem]
        for rate in LADDER:
            climbing = [account for account in climbing if self._climbs(account, rate)]
        return accounts

    def _round(self, account: Account, turn: int, *, with_cost: bool) -> None:
        client, tokens = account.client, self._cost_tokens
        account.steady.append(self._at(client, f"steady-{turn}", STEADY_RATE, 100))
        if with_cost:
            account.cost.append(self._at(client, f"cost-{turn}", COST_RATE, tokens))

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
    parser.add_argument(
        "--without", choices=("ladder", "cost"), help="leave out the ladder, or cost and ladder"
    )
    parser.add_argument("--requests", type=int, help="of each load; 300, with --quick 200")
    parser.add_argument("--cost-tokens", type=int, help="of an answer; 800, with --quick 300")
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
            requests=arguments.requests or (200 if arguments.quick else 300),
            cost_tokens=arguments.cost_tokens or (300 if arguments.quick else 800),
            rounds=arguments.rounds,
            realtime=arguments.realtime,
        )
        if arguments.without is None:
            compared = comparison(known)
        else:
            compared = comparison.rounds(known, with_cost=arguments.without == "ladder")
    if arguments.json is not None:
        made = [made for a in compared for made in (*a.steady, *a.cost, *a.runs)]
        rows: list[dict[str, Any]] = [asdict(each) for each in made]
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    table = markdown if arguments.without is None else markdown_without_ladder
    print("\n".join((table(compared), *absent)))


if __name__ == "__main__":
    main()
