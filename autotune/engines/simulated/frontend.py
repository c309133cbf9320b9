"""The API server: a process of its own with one event loop, in which all requests take turns."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.clock import Clock
from autotune.units import NS_PER_S

_ROUNDING_S: Final = 1e-9


class Intake:
    """Takes requests in: parsing, validation, tokenizing, the way to the engine core.

    The handlers of requests that came together advance in turn, so that none is done long before
    the others: processor sharing (Kleinrock 1967). A hundred requests at once reach the engine
    together once all are taken in, not one after the other. Streams that want their chunks sent
    take turns beside them.

    Args:
        clock: Whose time passes.
        share: Of the event loop's time, what so many requests under way get together.
    """

    def __init__(self, clock: Clock, share: Callable[[int], float]) -> None:
        self._clock, self._share = clock, share
        self._work_s = 0.0  # what each request under way has got since the start
        self._pace = 1.0  # work that each gets per second, until the next event
        self._seen_ns = clock.now_ns()
        self._under_way: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, work_s: float, then: Callable[[], None]) -> None:
        """Begin with a request that needs so much work; call `then` once it is in."""
        self._advance()
        heapq.heappush(self._under_way, (self._work_s + work_s, self._count, then))
        self._count += 1
        self._set_timer()

    def _advance(self) -> None:
        now_ns = self._clock.now_ns()
        if self._under_way:
            self._work_s += (now_ns - self._seen_ns) / NS_PER_S * self._pace
        self._seen_ns = now_ns

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._under_way:
            return
        count = len(self._under_way)
        self._pace = self._share(count) / count
        left_s = max(0.0, self._under_way[0][0] - self._work_s) / self._pace
        self._timer = asyncio.get_running_loop().call_later(left_s, self._in)

    def _in(self) -> None:
        self._timer = None
        self._advance()
        ready = []
        while self._under_way and self._under_way[0][0] <= self._work_s + _ROUNDING_S:
            ready.append(heapq.heappop(self._under_way)[2])
        self._set_timer()
        for then in ready:
            then()


@dataclass(frozen=True)
class Sending:
    """What the API server spends on running streams, in nanoseconds.

    Attributes:
        token_ns: Per token of each stream, however tokens are put into chunks: detokenizing,
            counting, putting it into the stream's queue.
        chunk_ns: Per chunk: waking the stream, encoding, writing to its socket.
    """

    token_ns: float
    chunk_ns: float

    def per_token_ns(self, interval: int) -> float:
        """Of one stream, while no chunks merge, with so many tokens per chunk."""
        return self.token_ns + self.chunk_ns / interval


def chunk_times(
    stamps: Sequence[Sequence[int]], interval: int, sending: Sending
) -> tuple[int, ...]:
    """When the chunks of one answer came.

    The first token comes at once, then every `interval` tokens (`--stream-interval`), and the
    end. While the API server is busy with the chunks of other streams, further tokens join the
    chunk that waits (RequestOutputCollector, vLLM `v1/engine/output_processor.py`). That saves
    the work per chunk and not the work per token (`process_outputs`, same file), so a server
    that does not keep up with its engine falls further behind: with n streams whose tokens come
    every T, a round over all of them takes n * chunk / (1 - n * token / T).

    Args:
        stamps: Of each token, when the engine gave it out and to how many streams one.
        interval: Tokens per chunk that are asked for.
        sending: The API server's work.
    """
    asked = [*stamps[:1], *stamps[interval::interval]]
    if len(stamps) > 1 and (len(stamps) - 1) % interval:
        asked.append(stamps[-1])
    times: list[int] = []
    free_ns = 0.0
    for time_ns, streams in asked:
        if time_ns < free_ns and times and times[-1] >= time_ns:
            free_ns += streams * sending.token_ns  # it went out with the chunk before
            continue
        sent_ns = max(time_ns, round(free_ns))
        times.append(sent_ns)
        free_ns = sent_ns + streams * (sending.chunk_ns / interval + sending.token_ns)
    return tuple(times)
