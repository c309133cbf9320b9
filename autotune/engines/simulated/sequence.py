"""One request inside the engine, and when its tokens came."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from autotune.engines.simulated.blocks import Lease, Span

IntArray = npt.NDArray[np.int64]
_FIRST_CAPACITY: Final = 4096


class Stamps:
    """When iterations gave out their tokens, in order, and how many streams each fed."""

    def __init__(self) -> None:
        self._times: IntArray = np.empty((_FIRST_CAPACITY, 2), dtype=np.int64)
        self.count = 0

    def append(self, times_ns: IntArray, streams: int) -> None:
        """Add iterations in a row that feed the same streams."""
        needed = self.count + len(times_ns)
        if needed > len(self._times):
            grown = np.empty((max(needed, 2 * len(self._times)), 2), dtype=np.int64)
            grown[: self.count] = self._times[: self.count]
            self._times = grown
        self._times[self.count : needed, 0] = times_ns
        self._times[self.count : needed, 1] = streams
        self.count = needed

    def delay_last(self, by_ns: int) -> None:
        """The last iteration's tokens were given out later."""
        self._times[self.count - 1, 0] += by_ns

    def slice(self, start: int, stop: int) -> list[list[int]]:
        """Time and streams of some iterations."""
        taken: list[list[int]] = self._times[start:stop].tolist()
        return taken


class TokenLog:
    """When the engine gave out tokens.

    Attributes:
        decodes: Iterations in which sequences decoded. A decoding sequence gets one token in
            each, so its token times are a slice of this.
        prefills: Iterations with prompt chunks. A finished prompt gets its token there.
    """

    def __init__(self) -> None:
        self.decodes = Stamps()
        self.prefills = Stamps()


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
    _prefills: list[tuple[int, int]] = field(default_factory=list)
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

    def prefilled(self, log: TokenLog) -> None:
        """The log's last prefill completed its prompt, which gives a token; next it decodes."""
        self.generated_tokens += 1
        self._prefills.append((len(self._slices), log.prefills.count - 1))
        self._decoding_from = log.decodes.count

    def decoded(self, count: int) -> None:
        """It got so many tokens in the iterations that the log holds last."""
        self.computed_tokens += count
        self.generated_tokens += count

    def keep_generated(self, key: int, block_size: int) -> None:
        """What it has generated can be found again under a key, as long as it is not evicted."""
        first = self.spans[-1][2] if self.spans else 0
        end = self.computed_tokens // block_size
        if end > first >= self.prompt_tokens // block_size:
            self.spans = (*self.spans, (key, first, end))

    def close(self, log: TokenLog) -> None:
        """No more tokens for now: keep the iterations in which it decoded."""
        start = self._decoding_from
        if start is None:
            return
        decoded = self.generated_tokens - len(self._prefills)
        decoded -= sum(stop - first for first, stop in self._slices)
        self._slices.append((start, min(log.decodes.count, start + decoded)))
        self._decoding_from = None

    def token_stamps(self, log: TokenLog) -> list[list[int]]:
        """When each token came, in order, and how many streams got one; call after `close`."""
        stamps: list[list[int]] = []
        prefills = dict(self._prefills)
        for index, (start, stop) in enumerate(self._slices):
            if index in prefills:
                stamps += log.prefills.slice(prefills[index], prefills[index] + 1)
            stamps += log.decodes.slice(start, stop)
        return stamps
