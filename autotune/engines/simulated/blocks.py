"""The paged KV cache: blocks, prefix caching, eviction of the least recently used.

Follows vLLM's `v1/core/block_pool.py` and `single_type_kv_cache_manager.py` (0.26.0): freed blocks
keep their content and go to the end of a queue, a request's last blocks first; new blocks come
from its front. Blocks are counted, not listed: a stretch of prompt (see `prefix`) holds the number
of its leading blocks that are cached, so eviction takes blocks off its end.
"""

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stretch:
    """Blocks whose last token lies in one segment of a prompt, after one certain prefix."""

    key: int
    cached: int = 0
    pins: int = 0


@dataclass(slots=True)
class Lease:
    """Blocks that one running sequence holds.

    Attributes:
        private: Blocks that nobody else can hit.
        pinned: Stretches in use, in order of the prompt.
    """

    private: int = 0
    pinned: dict[int, Stretch] = field(default_factory=dict)


Span = tuple[int, int, int]
"""Key of a stretch, its first block, the block after its last."""


def spans(chain: tuple[tuple[int, int], ...], block_size: int) -> tuple[Span, ...]:
    """The full blocks of each stretch of a prompt; stretches without one are left out."""
    found = []
    first = 0
    for key, end_token in chain:
        end = end_token // block_size
        if end > first:
            found.append((key, first, end))
            first = end
    return tuple(found)


class BlockPool:
    """All blocks of the GPU's KV cache.

    Args:
        total: Number of blocks.
        caching: Whether prefixes are found again.
    """

    def __init__(self, total: int, *, caching: bool) -> None:
        self.total = total
        self._caching = caching
        self._empty = total
        self._evictable = 0
        self._stretches: dict[int, Stretch] = {}
        self._queue: OrderedDict[int, Stretch] = OrderedDict()
        self._anonymous = 0

    @property
    def available(self) -> int:
        """Blocks that can be had: empty or evictable."""
        return self._empty + self._evictable

    @property
    def used_ratio(self) -> float:
        """Share of blocks that running sequences hold (`vllm:kv_cache_usage_perc`)."""
        return 1.0 - self.available / self.total if self.total else 0.0

    def hits(self, wanted: tuple[Span, ...], limit: int) -> int:
        """Leading blocks of a prompt that are cached, at most `limit`."""
        if not self._caching:
            return 0
        found = 0
        for key, first, end in wanted:
            stretch = self._stretches.get(key)
            cached = 0 if stretch is None else min(stretch.cached, end - first)
            found += cached
            if cached < end - first:
                break
        return min(found, limit)

    def cost_of_hits(self, wanted: tuple[Span, ...], blocks: int) -> int:
        """Available blocks that stop being so once these hits are in use."""
        return sum(
            stretch.cached
            for key, first, _ in wanted
            if first < blocks and (stretch := self._stretches.get(key)) and stretch.pins == 0
        )

    def use_hits(self, lease: Lease, wanted: tuple[Span, ...], blocks: int) -> None:
        """Hold the leading cached blocks of a prompt."""
        for key, first, _ in wanted:
            if first >= blocks:
                break
            self._pin(lease, key)

    def take(self, lease: Lease, count: int) -> None:
        """Hand out blocks, evicting the least recently used content.

        Raises:
            ValueError: If there are not so many; the scheduler asks before.
        """
        if count > self.available:
            message = f"{count} blocks wanted, {self.available} available"
            raise ValueError(message)
        from_empty = min(self._empty, count)
        self._empty -= from_empty
        left = count - from_empty
        while left:
            key, stretch = next(iter(self._queue.items()))
            taken = min(left, stretch.cached)
            stretch.cached -= taken
            self._evictable -= taken
            left -= taken
            if stretch.cached == 0:
                del self._queue[key]
                self._stretches.pop(key, None)
        lease.private += count

    def publish(self, lease: Lease, wanted: tuple[Span, ...], computed_blocks: int) -> None:
        """Let others hit the leading blocks of a prompt that are now computed."""
        if not self._caching:
            return
        for key, first, end in wanted:
            if first >= computed_blocks:
                break
            stretch = self._pin(lease, key)
            moved = min(min(end, computed_blocks) - first - stretch.cached, lease.private)
            if moved > 0:
                stretch.cached += moved
                lease.private -= moved

    def release(self, lease: Lease) -> None:
        """Give everything back; content stays until it is evicted, the end of it first."""
        if lease.private and self._caching:
            self._anonymous -= 1
            self._queue[self._anonymous] = Stretch(self._anonymous, cached=lease.private)
            self._evictable += lease.private
        else:
            self._empty += lease.private
        lease.private = 0
        for key, stretch in reversed(lease.pinned.items()):
            stretch.pins -= 1
            if stretch.pins == 0:
                self._unused(key, stretch)
        lease.pinned.clear()

    def clear(self) -> bool:
        """Forget all content; False while blocks are held (`reset_prefix_cache`)."""
        if self.available < self.total:
            return False
        self._queue.clear()
        self._stretches.clear()
        self._empty, self._evictable = self.total, 0
        return True

    def _pin(self, lease: Lease, key: int) -> Stretch:
        held = lease.pinned.get(key)
        if held is not None:
            return held
        stretch = self._stretches.setdefault(key, Stretch(key))
        if stretch.pins == 0 and self._queue.pop(key, None) is not None:
            self._evictable -= stretch.cached
        stretch.pins += 1
        lease.pinned[key] = stretch
        return stretch

    def _unused(self, key: int, stretch: Stretch) -> None:
        if stretch.cached == 0:
            self._stretches.pop(key, None)
            return
        self._queue[key] = stretch
        self._evictable += stretch.cached
