"""One request inside the engine, and when its tokens came."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from autotune.engines.simulated.blocks import Lease, Span

IntArray = npt.NDArray[np.int64]
_FIRST_CAPACITY: Final = 4096


class TokenLog:
    """When each decode iteration of the engine ended, in order.

    A decoding sequence gets one token per iteration, so its token times are a slice of this.
    """

    def __init__(self) -> None:
        self._ends: IntArray = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self.count = 0

    def append(self, ends_ns: IntArray) -> None:
        """Add iterations."""
        needed = self.count + len(ends_ns)
        if needed > len(self._ends):
            grown = np.empty(max(needed, 2 * len(self._ends)), dtype=np.int64)
            grown[: self.count] = self._ends[: self.count]
            self._ends = grown
        self._ends[self.count : needed] = ends_ns
        self.count = needed

    def slice(self, start: int, stop: int) -> list[int]:
        """Ends of some iterations."""
        taken: list[int] = self._ends[start:stop].tolist()
        return taken


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the scheduler.

    Attributes:
        prompt_tokens: Length of the prompt.
        wanted_tokens: Tokens to generate.
        spans: The prompt's full blocks (see `blocks.spans`).
        target_tokens: Tokens to compute before it can generate: the prompt, and after a preemption
            what had been generated.
        computed_tokens: Tokens whose KV is there.
        generated_tokens: Tokens given out.
        blocks: Blocks held.
        cached_tokens: Prompt tokens that came from a cache when it was first admitted.
        loading_until_ns: When its blocks will have come from host memory.
    """

    prompt_tokens: int
    wanted_tokens: int
    spans: tuple[Span, ...] = ()
    target_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    blocks: int = 0
    lease: Lease = field(default_factory=Lease)
    cached_tokens: int | None = None
    loading_until_ns: int | None = None
    preemptions: int = 0
    _single_ns: list[tuple[int, int]] = field(default_factory=list)
    _slices: list[tuple[int, int]] = field(default_factory=list)
    _decoding_from: int | None = None

    def __post_init__(self) -> None:
        self.target_tokens = self.prompt_tokens

    @property
    def is_decoding(self) -> bool:
        """Whether its prompt is computed."""
        return self.computed_tokens >= self.target_tokens

    @property
    def is_finished(self) -> bool:
        """Whether it has all its tokens."""
        return self.generated_tokens >= self.wanted_tokens

    def prefilled(self, at_ns: int, log: TokenLog) -> None:
        """Its prompt is computed, which gives a token; decoding starts with the next iteration."""
        self.generated_tokens += 1
        self._single_ns.append((len(self._slices), at_ns))
        self._decoding_from = log.count

    def decoded(self, count: int) -> None:
        """It got so many tokens in the iterations that the log holds last."""
        self.computed_tokens += count
        self.generated_tokens += count

    def close(self, log: TokenLog) -> None:
        """No more tokens for now: keep the iterations in which it decoded."""
        start = self._decoding_from
        if start is None:
            return
        decoded = self.generated_tokens - len(self._single_ns)
        decoded -= sum(stop - first for first, stop in self._slices)
        self._slices.append((start, min(log.count, start + decoded)))
        self._decoding_from = None

    def token_times_ns(self, log: TokenLog) -> list[int]:
        """When each token came, in order; call after `close`."""
        times: list[int] = []
        singles = dict(self._single_ns)
        for index, (start, stop) in enumerate(self._slices):
            if index in singles:
                times.append(singles[index])
            times += log.slice(start, stop)
        return times
