"""What was found out about each client, and the tables of it for docs/benchmarks.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load.clients import LoadClient
from benchmarks.load.golden_run import MAX_LAG_MS, MAX_TTFT_ERROR_MS, STREAMS, Run

LOWEST_RATE = 10  # tokens/s and stream


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
        """CPU time of client and children, slope between the two loads, one per round with both."""
        return [
            (long.cpu_s - short.cpu_s) / (long.chunks - short.chunks) * 1e6
            for short, long in zip(self.steady, self.cost, strict=False)
            if long.chunks > short.chunks and not (long.problem or short.problem)
        ]

    @property
    def counts_exact(self) -> bool:
        """In every run of both kinds."""
        return all(made.counts_exact for made in (*self.steady, *self.cost))


def markdown(accounts: Sequence[Account]) -> str:
    """The table for docs/benchmarks.md: middle of the rounds, lowest and highest in brackets."""
    head = ("client", "undistorted to, chunks/s", "keeps up to", "TTFT error p50, ms", "p99, ms")
    lines = [_line((*head, "counts", "CPU per chunk, µs")), "|---|---|---|---|---|---|---|"]
    for account in accounts:
        sound = account.sound
        more = " or more" if account.server_ended else ""
        lowest = f"distorts at {LOWEST_RATE * STREAMS:,}"
        undistorted = lowest if sound is None else f"{sound.chunks_per_s:,.0f}"
        keeping_up = account.keeping_up
        cells = (
            _name(account),
            undistorted + (more if sound is not None and sound is keeping_up else ""),
            "" if keeping_up is None else f"{keeping_up.chunks_per_s:,.0f}{more}",
            *_measured(account),
        )
        lines.append(_line(cells))
    return "\n".join(lines)


def markdown_without_ladder(accounts: Sequence[Account]) -> str:
    """The table of the steady and the cost runs; without cost runs its last column is empty."""
    head = ("client", "TTFT error p50, ms", "p99, ms", "counts", "CPU per chunk, µs")
    lines = [_line(head), "|---|---|---|---|---|"]
    lines += [_line((_name(account), *_measured(account))) for account in accounts]
    return "\n".join(lines)


def _name(account: Account) -> str:
    return f"{account.client.name} {account.client.version}"


def _measured(account: Account) -> tuple[str, ...]:
    """Cells that come of the rounds: middle, lowest and highest."""
    return (
        _middle([made.ttft_error_p50_ms for made in account.steady], 2),
        _middle([made.ttft_error_p99_ms for made in account.steady], 2),
        account.at_rest.problem or ("exact" if account.counts_exact else "WRONG"),
        _middle(account.cpu_us_per_chunk, 1),
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _middle(values: Sequence[float], digits: int) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    low, middle, high = min(known), median(known), max(known)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
