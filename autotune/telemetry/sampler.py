"""Polls every source through a trial; the result is a timeline in memory and on disk."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson

from autotune.clock import Clock
from autotune.seams.telemetry import Sample, Source
from autotune.units import ns_from_s, s_from_ns

_PATIENCE: Final = 0.8
"""Share of the interval that a source may take; a slower one gives None in this sample."""


class Sampler:
    """Looks at all sources at once, again and again; `async with Sampler(...) as sampler`.

    Every sample has every source's keys. A source that raises or is slow gives None for its
    keys and disturbs no other; a slow one is asked again only once it has answered, and a late
    answer is dropped, for it belongs to no sample. The interval is kept: a late sample does not
    shift the next. The first sample is taken at once, a last one at the end.

    Args:
        sources: What to look at; where two give the same key, the later one holds.
        clock: Stamps the samples and keeps the interval.
        interval_s: Between two samples.
        on_sample: Told of each sample; what it raises ends the sampling and is raised at the end.
        sink_path: Gets one JSON object per sample: `at_ns` and the values.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        clock: Clock,
        interval_s: float,
        on_sample: Callable[[Sample], None] | None = None,
        sink_path: Path | None = None,
    ) -> None:
        self.timeline: list[Sample] = []
        self._looks = [_Look(source) for source in sources]
        self._clock = clock
        self._interval_s = interval_s
        self._on_sample = on_sample
        self._sink = _Sink(sink_path, flushed=not clock.is_virtual)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sink.open()
        self._task = asyncio.create_task(self._run(), name="telemetry")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task = self._task
        if task is None:
            return
        try:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled():
                    await self._sample()
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure
        finally:
            await asyncio.gather(*(look.cancel() for look in self._looks))
            self._sink.close()

    async def ended(self) -> None:
        """Wait until nothing is sampled any more: what `on_sample` raised has ended it.

        Whoever relies on being told of samples is not told from then on.
        """
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        start_ns = self._clock.now_ns()
        interval_ns = max(1, ns_from_s(self._interval_s))
        while True:
            await self._sample()
            passed = (self._clock.now_ns() - start_ns) // interval_ns
            next_ns = start_ns + (passed + 1) * interval_ns
            await self._clock.sleep(s_from_ns(next_ns - self._clock.now_ns()))

    async def _sample(self) -> None:
        at_ns = self._clock.now_ns()
        tasks = {look.start() for look in self._looks}
        await asyncio.sleep(0)  # one turn of the loop is all that most sources take
        if any(not task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=self._interval_s * _PATIENCE)
        values: dict[str, float | None] = {}
        for look in self._looks:
            values.update(look.take())
        sample = Sample(at_ns=at_ns, values=values)
        self.timeline.append(sample)
        self._sink.write(sample)
        if self._on_sample is not None:
            self._on_sample(sample)


class _Look:
    """One source and the question to it that is under way."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._task: asyncio.Task[Mapping[str, float | None]] | None = None
        self._is_late = False

    def start(self) -> asyncio.Task[Mapping[str, float | None]]:
        """Ask, unless the last question is still open."""
        if self._task is None or (self._task.done() and self._is_late):
            self._is_late = False
            self._task = asyncio.create_task(_asked(self._source))
        return self._task

    def take(self) -> Mapping[str, float | None]:
        """The answer, all None if there is none yet."""
        missing = dict.fromkeys(self._source.keys)
        if self._task is None:
            return missing
        if self._is_late or not self._task.done():
            self._is_late = True
            return missing
        answer, self._task = self._task.result(), None
        return {key: answer.get(key) for key in self._source.keys}

    async def cancel(self) -> None:
        """Forget a question that nobody waits for any more; a thread of its own runs out."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


async def _asked(source: Source) -> Mapping[str, float | None]:
    try:
        return await source.read()
    except Exception:  # noqa: BLE001 - whatever a source raises, the others must be sampled
        return {}


class _Sink:
    """The file of samples; a full disk ends the writing and not the trial."""

    def __init__(self, path: Path | None, *, flushed: bool) -> None:
        self._path = path
        self._flushed = flushed
        self._file: BinaryIO | None = None

    def open(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")
        except OSError:
            self._file = None

    def write(self, sample: Sample) -> None:
        if self._file is None:
            return
        try:
            self._file.write(orjson.dumps({"at_ns": sample.at_ns, **sample.values}) + b"\n")
            if self._flushed:  # a sample survives whatever happens to this process
                self._file.flush()
        except OSError:
            self._drop()

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
