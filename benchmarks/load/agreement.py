"""Two clients' accounts of one server side by side, and each beside the server's own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from autotune.load import formulas
from benchmarks.load.server_account import ServerAccount


@dataclass(frozen=True)
class Figures:
    """What one client says of one load.

    Attributes:
        tokens: Of all prompts, and of all answers, by the client's account.
    """

    output_tokens_per_s: float
    ttft_p50_ms: float
    ttft_mean_ms: float
    tokens: tuple[int, int]


@dataclass(frozen=True)
class Told:
    """One load as the client and as the server tell it.

    Attributes:
        requests: How many were sent; the server must know of as many.
    """

    client: Figures
    server: ServerAccount
    requests: int

    def __post_init__(self) -> None:
        """Refuse an account that is of something else as well."""
        assert self.server.requests == self.requests, (self.server, self.requests)

    @property
    def in_flight(self) -> float:
        """Requests in flight in the mean: latencies by the server / time by the client."""
        return self.server.e2e_s * self.client.output_tokens_per_s / self.client.tokens[1]

    @property
    def ttft_ratio(self) -> float:
        """The client's mean TTFT / the server's."""
        return self.client.ttft_mean_ms / self.server.ttft_mean_ms

    @property
    def added_ms(self) -> float:
        """The client's mean TTFT less the server's: the way there and back, and its own delay."""
        return self.client.ttft_mean_ms - self.server.ttft_mean_ms


COLUMNS: tuple[tuple[str, str, Callable[[Told], float]], ...] = (
    ("tokens/s", ".1f", lambda told: told.client.output_tokens_per_s),
    ("mean TTFT, ms", ".1f", lambda told: told.client.ttft_mean_ms),
    ("TTFT p50, ms", ".1f", lambda told: told.client.ttft_p50_ms),
    ("in flight", ".3f", lambda told: told.in_flight),
    ("TTFT / server's", ".4f", lambda told: told.ttft_ratio),
)
ADDED = "added to TTFT, ms"


def head() -> str:
    """The table's first two lines."""
    cells = [f"{name}, ours | theirs | ratio" for name, _, _ in COLUMNS]
    cells.append(f"{ADDED}, ours | theirs")
    return f"| pair | {' | '.join(cells)} | tokens |\n|{'---|' * (3 * len(COLUMNS) + 4)}"


def row(name: str, mine: Told, other: Told) -> str:
    """One pair."""
    cells = [
        f"{figure(mine):{form}} | {figure(other):{form}} | {figure(mine) / figure(other):.3f}"
        for _, form, figure in COLUMNS
    ]
    cells.append(f"{mine.added_ms:.1f} | {other.added_ms:.1f}")
    ours, theirs = mine.client.tokens, other.client.tokens
    return f"| {name} | {' | '.join(cells)} | {'same' if ours == theirs else f'{ours} {theirs}'} |"


def last_row(pairs: Sequence[tuple[Told, Told]]) -> str:
    """The ratios over all pairs: geometric mean and its 95% interval; what is added, the median."""
    cells = [
        f" | | {_mean([figure(mine) / figure(other) for mine, other in pairs])}"
        for _, _, figure in COLUMNS
    ]
    added = [median([told.added_ms for told in side]) for side in zip(*pairs, strict=True)]
    cells.append(" | ".join(f"{value:.1f}" for value in added))
    return f"| all | {' | '.join(cells)} | |"


def _mean(ratios: list[float]) -> str:
    logs = [math.log(ratio) for ratio in ratios]
    interval = formulas.mean_interval(logs)
    middle = f"{math.exp(sum(logs) / len(logs)):.3f}"
    if interval is None:
        return middle
    return f"{middle} (95%: {math.exp(interval.low):.3f} to {math.exp(interval.high):.3f})"
