"""The KV offload: a second tier of the prefix cache in host memory.

Follows vLLM's OffloadingConnector (`v1/kv_offload/`, 0.26.0): full blocks of prompts are copied to
host memory as they are computed and evicted there by least recent use; a request whose prefix is
not on the GPU waits while it is copied back. It does not let more sequences run.
"""

from collections import OrderedDict

from autotune.engines.simulated.blocks import Span


class HostTier:
    """Blocks in host memory.

    Args:
        total: Number of blocks that fit.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._blocks: OrderedDict[int, int] = OrderedDict()
        self._used = 0

    @property
    def used_blocks(self) -> int:
        """Blocks that hold content."""
        return self._used

    def hits(self, wanted: tuple[Span, ...], after: int, limit: int) -> int:
        """Blocks of a prompt found here that continue its first `after` blocks."""
        reached = after
        for key, first, end in wanted:
            if end <= reached:
                continue
            stored_to = first + self._blocks.get(key, 0)
            if stored_to <= reached:
                break
            self._blocks.move_to_end(key)
            reached = min(stored_to, end)
            if reached < end:
                break
        return max(0, min(reached, limit) - after)

    def store(self, wanted: tuple[Span, ...], computed_blocks: int) -> int:
        """Copy the leading computed blocks of a prompt here; returns how many were new."""
        new = 0
        for key, first, end in wanted:
            target = min(end, computed_blocks) - first
            if target <= 0:
                break
            have = self._blocks.get(key, 0)
            if target > have:
                target = have + min(target - have, self._room_for(target - have, key))
                new += target - have
                self._used += target - have
                self._blocks[key] = target
            self._blocks.move_to_end(key)
        return new

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
        self._used = 0

    def _room_for(self, count: int, keep: int) -> int:
        """Evict until there is room; the stretch `keep` stays."""
        while self._used + count > self.total:
            victim = next((key for key in self._blocks if key != keep), None)
            if victim is None:
                break
            excess = self._used + count - self.total
            taken = min(excess, self._blocks[victim])
            self._blocks[victim] -= taken
            self._used -= taken
            if self._blocks[victim] == 0:
                del self._blocks[victim]
        return min(count, self.total - self._used)
