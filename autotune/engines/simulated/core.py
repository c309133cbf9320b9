"""The engine core in time: plans a run of iterations, lets it pass on the clock, hands out tokens.

A run ends early, at the next end of an iteration, when a request arrives that can join. Nothing
waits in between, so a probe costs as many wake-ups as there are arrivals and endings.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotune.clock import Clock
from autotune.engines.simulated.costs import CostModel, FloatArray
from autotune.engines.simulated.scheduler import Scheduler
from autotune.engines.simulated.sequence import IntArray, Sequence
from autotune.engines.simulated.step import Step
from autotune.units import NS_PER_S

_LATE_NS: Final = 2_000_000
"""A wake-up later than this is real time that was lost, not rounding of timers."""

OnDone = Callable[[Sequence], None]


@dataclass(slots=True)
class _Run:
    """Iterations under way."""

    step: Step
    start_ns: int
    ends_ns: IntArray
    busy_ratio: float


@dataclass(slots=True)
class Meter:
    """What the GPU has done since the start."""

    busy_ns: float = 0.0
    total_ns: float = 0.0


class EngineCore:
    """Scheduler, costs and clock together.

    Args:
        clock: Of the study.
        scheduler: What runs.
        costs: How long it takes.
        noise: Standard deviation of an iteration's time, relative.
        random: Where the noise comes from.
        streams: Hand out each token when it comes (a server in real time) instead of all at the
            request's end.
    """

    def __init__(
        self,
        clock: Clock,
        scheduler: Scheduler,
        costs: CostModel,
        *,
        noise: float,
        random: np.random.Generator,
        streams: bool = False,
    ) -> None:
        self._clock, self.scheduler, self._costs = clock, scheduler, costs
        self._noise, self._random, self._streams = noise, random, streams
        self._run: _Run | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_done: dict[Sequence, OnDone] = {}
        self._on_step: list[Callable[[Step, IntArray], None]] = []
        self.meter = Meter()
        self.is_stopped = False
        self.held_back_s = 0.0  # how long the tokens of the last iteration wait to be given out

    # ---- outside ----

    def submit(self, sequence: Sequence, on_done: OnDone) -> None:
        """A request reaches the engine; `on_done` is called once it has all its tokens."""
        if self.is_stopped:
            return
        joins = self.scheduler.has_room
        self._on_done[sequence] = on_done
        self.scheduler.add(sequence)
        if self._run is None:
            self._begin(self._clock.now_ns())
        elif joins:
            self._cut_short(self._clock.now_ns())

    def abort(self, sequence: Sequence) -> None:
        """A client gave up."""
        if self._on_done.pop(sequence, None) is None:
            return
        if self._run is not None:
            self._cut_short(self._clock.now_ns(), commit_now=True)
        self.scheduler.abort(sequence)
        if self._run is None and not self.is_stopped:
            self._begin(self._clock.now_ns())

    def on_step(self, watcher: Callable[[Step, IntArray], None]) -> None:
        """Call this after every run of iterations."""
        self._on_step.append(watcher)

    def off_step(self, watcher: Callable[[Step, IntArray], None]) -> None:
        """Call it no more."""
        self._on_step.remove(watcher)

    def stop(self) -> None:
        """The engine is gone; whoever waits is not called."""
        self.is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._on_done.clear()
        self._run = None

    # ---- looking at it ----

    def progress(self) -> tuple[int, Step | None]:
        """Iterations of the present run that have ended, and what it runs."""
        if self._run is None:
            return 0, None
        done = int(np.searchsorted(self._run.ends_ns, self._clock.now_ns(), side="right"))
        return done, self._run.step

    def kv_usage_ratio(self) -> float:
        """Share of KV blocks in use, the present run included."""
        pool = self.scheduler.pool
        done, step = self.progress()
        grown = 0.0
        if step is not None and step.decodes:
            grown = done * len(step.decodes) / self.scheduler.block_size
        return min(1.0, pool.used_ratio + grown / max(1, pool.total))

    def generation_tokens(self) -> int:
        """Tokens given out, the present run included."""
        done, step = self.progress()
        more = 0 if step is None else done * len(step.decodes)
        return self.scheduler.counters.generation_tokens + more

    def busy_ratio(self) -> float:
        """Share of time that the GPU works just now."""
        return 0.0 if self._run is None else self._run.busy_ratio

    def pace(self) -> tuple[int, float]:
        """Streams that get a token per iteration just now, and its seconds; (0, 0.0) at rest."""
        run = self._run
        if run is None:
            return 0, 0.0
        return run.step.load.sampled, (int(run.ends_ns[0]) - run.start_ns) / NS_PER_S

    # ---- inside ----

    def _begin(self, now_ns: int) -> None:
        step = self.scheduler.plan(now_ns)
        if step is None:
            self._run = None
            landing = self.scheduler.next_landing_ns
            if landing is not None:
                self._wake_at(landing, self._landed)
            return
        ends, busy = self._ends(step, now_ns)
        self._run = _Run(step, now_ns, ends, busy)
        landing = self.scheduler.next_landing_ns
        if landing is not None and landing < ends[-1]:
            self._keep_until(landing)
        self._wake_at(int(self._run.ends_ns[-1]), self._ended)

    def _ends(self, step: Step, now_ns: int) -> tuple[IntArray, float]:
        """When each iteration of a step will end, and how busy the GPU is meanwhile."""
        count = 1 if self._streams else step.count
        count = max(count, self._costs.scheduler_steps if not step.chunks else 1)
        if count == 1:
            seconds = np.array([self._costs.iteration_s(step.load)])
        else:
            seconds = self._costs.decode_run_s(step.load, step.growth, count)
        if step.stores:
            seconds = seconds + self._costs.store_s(step.stores)
        busy = min(1.0, self._costs.gpu_s(step.load) / float(seconds[0]))
        if self._noise:
            seconds = seconds * (1 + self._noise * self._random.standard_normal(count)).clip(0.5)
        ends = now_ns + np.cumsum(seconds * NS_PER_S).astype(np.int64)
        if self._costs.scheduler_steps > 1 and not step.chunks:
            ends = _in_bursts(ends, self._costs.scheduler_steps)
        return ends, busy

    def _keep_until(self, time_ns: int) -> None:
        """Let the present run end with the iteration that runs at this time."""
        run = self._run
        if run is None:
            return
        kept = int(np.searchsorted(run.ends_ns, time_ns, side="left")) + 1
        if kept < len(run.ends_ns):
            end = run.ends_ns[kept - 1]  # several iterations end at once in a multi-step burst
            kept = int(np.searchsorted(run.ends_ns, end, side="right"))
            run.ends_ns = run.ends_ns[:kept]

    def _cut_short(self, now_ns: int, *, commit_now: bool = False) -> None:
        run = self._run
        if run is None:
            return
        if commit_now:
            kept = int(np.searchsorted(run.ends_ns, now_ns, side="right"))
            self._run = None
            if self._timer is not None:
                self._timer.cancel()
            if kept:
                self._hand_out(run, self._commit(run, run.ends_ns[:kept]))
            return
        self._keep_until(now_ns)
        self._wake_at(int(run.ends_ns[-1]), self._ended)

    def _ended(self) -> None:
        run = self._run
        if run is None:
            return
        self._run = None
        end_ns = int(run.ends_ns[-1])
        finished = self._commit(run, run.ends_ns)
        now_ns = self._clock.now_ns()
        self._begin(end_ns if now_ns - end_ns < _LATE_NS else now_ns)
        self._hand_out(run, finished)

    def _landed(self) -> None:
        if self._run is None:
            self._begin(self._clock.now_ns())

    def _commit(self, run: _Run, ends_ns: IntArray) -> list[Sequence]:
        """Book iterations that have ended; returns the sequences that have all their tokens."""
        times_ns, load = ends_ns.copy(), run.step.load
        lasted_ns = np.diff(ends_ns, prepend=run.start_ns)
        late_s = self._costs.handover_s(load, lasted_ns[:-1] / NS_PER_S, load)
        times_ns[:-1] += _at_most(late_s, lasted_ns[1:])  # of the last: _hand_out
        finished = self.scheduler.commit(run.step, times_ns)
        self.meter.busy_ns += (int(ends_ns[-1]) - run.start_ns) * run.busy_ratio
        if not self._streams:
            for watcher in tuple(self._on_step):
                watcher(run.step, ends_ns)
        return finished

    def _hand_out(self, run: _Run, finished: list[Sequence]) -> None:
        """Give out the last iteration's tokens, perhaps after the launch of the next."""
        late_ns, step = self._held_back_ns(run), run.step
        self.scheduler.delay_last(step, late_ns)
        late_s = late_ns / NS_PER_S
        loop = asyncio.get_running_loop()
        self.held_back_s = late_s
        if self._streams:
            for watcher in tuple(self._on_step):
                watcher(step, run.ends_ns)
        for sequence in finished:
            done = self._on_done.pop(sequence, None)
            if done is not None and late_s:
                loop.call_later(late_s, done, sequence)
            elif done is not None:
                done(sequence)

    def _held_back_ns(self, run: _Run) -> int:
        """How long the launch of the present run keeps the engine core from a run's last tokens."""
        following = self._run
        if following is None:
            return 0
        lasted_ns = np.diff(run.ends_ns, prepend=run.start_ns)[-1:]
        load = following.step.load
        late_s = self._costs.handover_s(run.step.load, lasted_ns / NS_PER_S, load)
        return int(_at_most(late_s, following.ends_ns[:1] - following.start_ns)[0])

    def _wake_at(self, time_ns: int, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, time_ns - self._clock.now_ns()) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, call)


def _at_most(late_s: float | FloatArray, longest_ns: IntArray) -> IntArray:
    """Delays in nanoseconds, none longer than the iteration that causes it."""
    late_ns: IntArray = np.minimum(np.multiply(late_s, NS_PER_S), longest_ns).astype(np.int64)
    return late_ns


def _in_bursts(ends_ns: IntArray, steps: int) -> IntArray:
    """Multi-step scheduling hands out several tokens at the end of each scheduling."""
    windows = ends_ns[steps - 1 :: steps]
    bursts: IntArray = np.repeat(windows, steps)
    return bursts[: len(ends_ns)]
