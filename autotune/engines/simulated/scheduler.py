"""vLLM's scheduler, iteration by iteration; runs of equal iterations are planned at once.

Follows `v1/core/sched/scheduler.py` (0.26.0): each iteration has a token budget; running requests
come first, one token each or the next chunk of their prompt; then waiting requests are admitted in
order while budget, `max_num_seqs` and KV blocks last. A running request that gets no block pushes
out the youngest one, which starts again from its prompt. The V0 engine (to 0.10.2) prefills
instead of decoding while anything waits, and may decode several steps per scheduling.

Between two events (a request arrives, ends, or blocks run out) decode iterations differ only by
the growth of the KV cache, so `plan` hands out as many of them as fit before the next event.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.blocks import BlockPool, Lease
from autotune.engines.simulated.offload import HostTier
from autotune.engines.simulated.sequence import IntArray, Sequence, TokenLog
from autotune.engines.simulated.settings import ServeSettings
from autotune.engines.simulated.step import Counters, Step, run_length, work_of

_PRIVATE_KEYS: Final = -(2**62)
"""Keys of blocks that only the request that generated them can find; no prompt has such."""


class TransferTimes(Protocol):
    """How long the KV offload's copies take."""

    def __call__(self, blocks: int) -> float:
        """Seconds to copy so many blocks to the GPU."""
        ...


@dataclass(slots=True)
class _Draft:
    """A step being put together."""

    budget: int
    decodes: list[Sequence] = field(default_factory=list)
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    preempted: bool = False


class Scheduler:
    """Waiting and running requests of one engine.

    Args:
        settings: Limits and switches.
        shape: The model, for what attention reads.
        pool: The GPU's KV blocks.
        tier: The KV offload; None without one.
        transfer_s: Time of its copies.
    """

    def __init__(
        self,
        settings: ServeSettings,
        shape: ModelShape,
        pool: BlockPool,
        tier: HostTier | None = None,
        transfer_s: TransferTimes | None = None,
    ) -> None:
        self._settings, self._shape = settings, shape
        self.pool, self.tier = pool, tier
        self._transfer_s = transfer_s
        self._transfer_free_ns = 0
        self._freed_late: list[Lease] = []
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.loading: list[Sequence] = []
        self.log = TokenLog()
        self.counters = Counters()

    # ---- outside ----

    def add(self, sequence: Sequence) -> None:
        """A request arrives."""
        self.waiting.append(sequence)

    def abort(self, sequence: Sequence) -> None:
        """A request is given up by its client."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return
        for group in (self.running, self.loading):
            if sequence in group:
                group.remove(sequence)
                self._release(sequence)

    @property
    def block_size(self) -> int:
        """Tokens per KV block."""
        return self._settings.block_size

    @property
    def _frees_late(self) -> bool:
        """Whether blocks of a request that is pushed out come free only with the next iteration.

        With a KV connector and async scheduling they wait for the iteration that is under way, so
        that pushing one out does not help, and the next is pushed out, and so on. Seen with
        0.26.0 on an H100: a full KV cache cost 36 preemptions without an offload and 1,807 with.
        """
        return self.tier is not None and self._settings.async_scheduling

    @property
    def has_room(self) -> bool:
        """Whether a request that arrives now could join the next iteration."""
        occupied = len(self.running) + len(self.loading)
        return not self.waiting and occupied < self._settings.max_num_seqs

    @property
    def next_landing_ns(self) -> int | None:
        """When the next blocks from host memory will have come."""
        times = [s.loading_until_ns for s in self.loading if s.loading_until_ns is not None]
        return min(times, default=None)

    def plan(self, now_ns: int) -> Step | None:
        """What to run now; None if there is nothing to do."""
        step = self._plan(now_ns)
        if step is None and self._freed_late:  # all were pushed out; their blocks are back now
            step = self._plan(now_ns)
        return step

    def _plan(self, now_ns: int) -> Step | None:
        for lease in self._freed_late:
            self.pool.release(lease)
        self._freed_late.clear()
        self._land(now_ns)
        draft = _Draft(budget=self._settings.token_budget)
        if self._settings.v1:
            self._schedule_running(draft)
            if not draft.preempted:
                self._admit(draft, now_ns)
        else:
            self._schedule_prompts(draft, now_ns)
            if not draft.chunks:
                self._schedule_running(draft)
        if not draft.decodes and not draft.chunks:
            return None
        return self._step(draft)

    def commit(self, step: Step, times_ns: IntArray) -> list[Sequence]:
        """Some planned iterations have run; returns the sequences that have all their tokens.

        Args:
            step: As planned.
            times_ns: When each iteration gave out its tokens, as many as have run.
        """
        self.counters.iterations += len(times_ns)
        finished = self._commit_decodes(step, times_ns) if step.decodes else []
        if step.chunks:
            self.log.prefills.append(times_ns[-1:], step.load.sampled)
        finished += self._commit_chunks(step)
        for sequence in finished:
            self.counters.finished += 1
            self._release(sequence)
        if finished:
            self.running = [s for s in self.running if not s.is_finished]
        return finished

    # ---- running ----

    def _schedule_running(self, draft: _Draft) -> None:
        block = self._settings.block_size
        index = 0
        while index < len(self.running) and draft.budget > 0:
            sequence = self.running[index]
            decoding = sequence.is_decoding
            left = sequence.target_tokens - sequence.computed_tokens
            tokens = 1 if decoding else self._chunk(left, draft.budget)
            needed = -(-(sequence.computed_tokens + tokens) // block) - sequence.blocks
            if needed > 0 and not self._make_room(needed, sequence, draft):
                continue  # it was pushed out itself, so another one has this index now
            if needed > 0:
                self._take(sequence, needed)
            if decoding:
                draft.decodes.append(sequence)
            else:
                draft.chunks.append((sequence, tokens))
            draft.budget -= tokens
            index += 1

    def _chunk(self, left: int, budget: int) -> int:
        """Prompt tokens of one request in this iteration (`long_prefill_token_threshold`)."""
        most = self._settings.long_prefill_tokens
        return min(left, budget, most) if most > 0 else min(left, budget)

    def _make_room(self, blocks: int, sequence: Sequence, draft: _Draft) -> bool:
        """Push out the youngest running requests until there are blocks for this one."""
        while blocks > self.pool.available:
            victim = self.running[-1]
            self._preempt(victim)
            draft.preempted = True
            if victim is sequence:
                return False
        return True

    def _preempt(self, victim: Sequence) -> None:
        self.running.remove(victim)
        victim.keep_generated(_PRIVATE_KEYS + self.counters.preemptions, self.block_size)
        self.pool.publish(victim.lease, victim.spans, victim.computed_tokens // self.block_size)
        if self._frees_late:
            self._freed_late.append(victim.lease)
            victim.lease = Lease()
        self._release(victim)
        victim.target_tokens = victim.prompt_tokens + victim.generated_tokens
        victim.preemptions += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(victim)

    # ---- waiting ----

    def _schedule_prompts(self, draft: _Draft, now_ns: int) -> None:
        """V0: whole prompts, before anything decodes (`core/scheduler.py`, 0.10.2)."""
        draft.budget = max(self._settings.token_budget, self._settings.max_model_len)
        self._admit(draft, now_ns)

    def _admit(self, draft: _Draft, now_ns: int) -> None:
        while self.waiting and draft.budget > 0:
            if len(self.running) + len(self.loading) >= self._settings.max_num_seqs:
                return
            if not self._admit_first(draft, now_ns):
                return

    def _admit_first(self, draft: _Draft, now_ns: int) -> bool:
        """Admit the request that waits longest; False if it must go on waiting."""
        sequence, block = self.waiting[0], self._settings.block_size
        limit = (sequence.target_tokens - 1) // block
        hits = self.pool.hits(sequence.spans, limit)
        more = self.tier.hits(sequence.spans, hits, limit) if self.tier is not None else 0
        computed = (hits + more) * block
        tokens = self._chunk(sequence.target_tokens - computed, draft.budget)
        whole = self._settings.release.reserves_full_prompt or not self._settings.v1
        if not self._settings.v1 and tokens < sequence.target_tokens - computed:
            return False
        asked = sequence.target_tokens if whole else computed + tokens
        free = self.pool.available - self.pool.cost_of_hits(sequence.spans, hits)
        if -(-asked // block) - hits > free:
            return False
        self.waiting.popleft()
        self._count_lookup(sequence, hits * block, more * block)
        self.pool.use_hits(sequence.lease, sequence.spans, hits)
        sequence.blocks, sequence.computed_tokens = hits, computed
        if more:
            self._start_load(sequence, more, now_ns)
            return True
        self._take(sequence, -(-(computed + tokens) // block) - hits)
        self.running.append(sequence)
        draft.chunks.append((sequence, tokens))
        draft.budget -= tokens
        return True

    def _count_lookup(self, sequence: Sequence, hit_tokens: int, offload_tokens: int) -> None:
        counters = self.counters
        if sequence.cached_tokens is not None:  # a preempted one; vLLM counts those apart
            return
        sequence.cached_tokens = hit_tokens + offload_tokens
        if self._settings.prefix_caching:
            counters.prefix_queries_tokens += sequence.prompt_tokens
            counters.prefix_hits_tokens += hit_tokens
        if self.tier is not None:
            counters.offload_queries_tokens += sequence.prompt_tokens - hit_tokens
            counters.offload_hits_tokens += offload_tokens

    # ---- KV offload ----

    def _start_load(self, sequence: Sequence, blocks: int, now_ns: int) -> None:
        """Copy blocks back; copies share one way, so they queue."""
        self._take(sequence, blocks)
        seconds = self._transfer_s(blocks) if self._transfer_s is not None else 0.0
        begin = max(now_ns, self._transfer_free_ns)
        self._transfer_free_ns = begin + round(seconds * 1e9)
        sequence.loading_until_ns = self._transfer_free_ns
        self.counters.offload_loads_blocks += blocks
        self.loading.append(sequence)

    def _land(self, now_ns: int) -> None:
        for sequence in list(self.loading):
            until = sequence.loading_until_ns
            if until is not None and until <= now_ns:
                self.loading.remove(sequence)
                sequence.loading_until_ns = None
                self._publish(sequence)
                self.running.append(sequence)

    def _publish(self, sequence: Sequence) -> None:
        done = min(sequence.computed_tokens, sequence.prompt_tokens) // self._settings.block_size
        self.pool.publish(sequence.lease, sequence.spans, done)
        if self.tier is not None:
            stored = self.tier.store(sequence.spans, done)
            self.counters.offload_stores_blocks += stored

    # ---- a step and its end ----

    def _step(self, draft: _Draft) -> Step:
        load, growth = work_of(self._shape, draft.decodes, draft.chunks)
        count = 1
        # After one was pushed out the next iteration may take it back, so it is planned by itself.
        if not draft.chunks and not draft.preempted:
            settings, free = self._settings, self.pool.available
            count = run_length(draft.decodes, free, settings.block_size, settings.scheduler_steps)
        stores = 0
        if self.tier is not None:
            full = [s.prompt_tokens // self.block_size for s, _ in draft.chunks]
            done = [s.computed_tokens // self.block_size for s, _ in draft.chunks]
            stores = sum(d < f for d, f in zip(done, full, strict=True))
        return Step(load, draft.decodes, draft.chunks, count, growth, stores)

    def delay_last(self, step: Step, by_ns: int) -> None:
        """The last iteration of a step that was committed gives out its tokens later."""
        if step.decodes:
            self.log.decodes.delay_last(by_ns)
        if step.chunks:
            self.log.prefills.delay_last(by_ns)

    def _commit_decodes(self, step: Step, times_ns: IntArray) -> list[Sequence]:
        count, block = len(times_ns), self._settings.block_size
        self.log.decodes.append(times_ns, step.load.sampled)
        finished = []
        for sequence in step.decodes:
            tokens = min(count, sequence.wanted_tokens - sequence.generated_tokens)
            sequence.decoded(tokens)
            self.counters.generation_tokens += tokens
            needed = -(-sequence.computed_tokens // block) - sequence.blocks
            if needed > 0:
                self._take(sequence, min(needed, self.pool.available))
            if sequence.is_finished:
                finished.append(sequence)
        return finished

    def _commit_chunks(self, step: Step) -> list[Sequence]:
        finished = []
        for sequence, tokens in step.chunks:
            sequence.computed_tokens += tokens
            self._publish(sequence)
            if not sequence.is_decoding:
                continue
            if sequence.generated_tokens == 0:
                self.counters.prompt_tokens += sequence.prompt_tokens
            sequence.prefilled(self.log)
            self.counters.generation_tokens += 1
            if sequence.is_finished:
                finished.append(sequence)
        return finished

    def _take(self, sequence: Sequence, blocks: int) -> None:
        if blocks > 0:
            self.pool.take(sequence.lease, blocks)
            sequence.blocks += blocks

    def _release(self, sequence: Sequence) -> None:
        sequence.close(self.log)
        self.pool.release(sequence.lease)
        sequence.blocks = sequence.computed_tokens = 0
