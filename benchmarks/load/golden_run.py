"""One load by one client against the golden server, as both sides tell it.

The golden server (`tests/support/golden_server.py`) knows when it sent each chunk, on the clock of
the whole machine. TTFT error is the client's TTFT less the server's (first chunk sent - request
read). The first request of each stream is left out: it opens a connection.
"""

import contextlib
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.load import clients
from benchmarks.load.clients import Job, LoadClient
from tests.support.golden import Golden, golden_server

STREAMS = 100
TTFT_MS, END_SPREAD_MS = 50.0, 400.0
MAX_TTFT_ERROR_MS, MAX_LAG_MS = 5.0, 10.0
MAX_SERVER_LATE_MS = 10.0  # beyond this the golden server itself is at its end
TIMEOUT_S = 240.0


class Realtime(StrEnum):
    """Who gets real-time priority from the benchmark while requests run.

    A client that takes it by itself has it in any case.
    """

    NOBODY = "nobody"
    SERVER = "server"  # the witness: what it is late by is no client's error
    ALL = "all"


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


def run(
    client: LoadClient, *, rate: int, tokens: int, requests: int, folder: Path, realtime: Realtime
) -> Run:
    """One load at `rate` tokens/s and stream."""
    folder.mkdir(parents=True, exist_ok=True)
    script = {"ttft_ms": TTFT_MS, "itl_ms": 1000 / rate, "end_spread_ms": END_SPREAD_MS}
    with golden_server(**script) as golden:
        job = Job(golden.base_url, requests, STREAMS, tokens, folder)
        if realtime is not Realtime.NOBODY:
            _raise_priority(golden.process.pid)
        undisturbed = Undisturbed(golden) if realtime is Realtime.ALL else None
        cpu_s, problem = _execute(client.command(job), folder, undisturbed)
        rows = sorted(golden.brief(), key=lambda row: row["received_ns"])[-requests:]
    if problem or len(rows) < requests:
        return Run(client=client.name, rate=rate, cpu_s=cpu_s, problem=problem or "requests lost")
    known = {key: row for row in rows for key in _keys(row)}
    account = {id(known.get(r[0])): r for r in client.read(job)}
    paired = [(row, account[id(row)]) for row in rows if id(row) in account]
    if len(paired) != requests or len(account) != requests:
        return Run(client=client.name, rate=rate, cpu_s=cpu_s, problem="requests not accounted for")
    return _judge(client.name, rate, paired, cpu_s)


def _keys(row: dict[str, Any]) -> list[str]:
    """By what a client may name a request: see `clients`."""
    number = re.search(r"(\d+)$", row["request_id"])
    return [row["request_id"], f"cmpl-golden-{row['number']}", *(number.groups() if number else ())]


def _judge(
    name: str, rate: int, paired: list[tuple[dict[str, Any], clients.Request]], cpu_s: float
) -> Run:
    rows, account = [row for row, _ in paired], [told for _, told in paired]
    truth = np.array([row["first_send_ns"] - row["received_ns"] for row in rows], dtype=float)
    shown = np.array([np.nan if r[1] is None else r[1] for r in account], dtype=float)
    error_ms = (shown - truth)[STREAMS:] / 1e6
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


class Undisturbed:
    """Real-time priority for the client while requests run, on a machine that others use.

    Starting a client is left at ordinary priority: it is long, and nothing is measured in it.
    """

    def __init__(self, golden: Golden) -> None:
        self._golden = golden

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Raise the client's processes once its requests come in."""
        seen = 0
        while process.returncode is None and seen < STREAMS // 10:
            threading.Event().wait(0.2)
            seen = len(self._golden.brief())
        _raise_priority(process.pid)


def _raise_priority(pid: int) -> None:
    """Round-robin real-time priority for every thread of a process and of its children."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            for thread in process.threads():
                os.sched_setscheduler(thread.id, os.SCHED_RR, os.sched_param(5))


def _execute(
    command: list[str], folder: Path, undisturbed: Undisturbed | None
) -> tuple[float, str]:
    """CPU seconds of a command and its children, and what went wrong."""
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with (folder / "client.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        guard = threading.Timer(TIMEOUT_S, _kill_tree, [process.pid])
        guard.start()
        if undisturbed is not None:
            threading.Thread(target=undisturbed.watch, args=[process], daemon=True).start()
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
