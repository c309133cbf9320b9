"""The sampler, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import orjson
import pytest

from autotune.clock import VirtualClock
from autotune.seams.telemetry import Sample
from autotune.telemetry.sampler import Sampler
from autotune.units import ns_from_s


class FakeSource:
    """Does what it is told."""

    def __init__(self, key: str, look: Callable[[], Awaitable[float]]) -> None:
        self.keys = (key,)
        self.looks = 0
        self.now = 0
        self.most = 0
        self._look = look

    async def read(self) -> Mapping[str, float | None]:
        """One look; counts how many are under way."""
        self.looks += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return {self.keys[0]: await self._look(), "not_declared": 1.0}
        finally:
            self.now -= 1


def good(key: str = "good") -> FakeSource:
    """Answers at once."""

    async def look() -> float:
        return 1.0

    return FakeSource(key, look)


def slow(clock: VirtualClock, seconds: float) -> FakeSource:
    """Takes its time."""

    async def look() -> float:
        await clock.sleep(seconds)
        return 2.0

    return FakeSource("slow", look)


def broken() -> FakeSource:
    """Raises."""

    async def look() -> float:
        message = "no such thing"
        raise LookupError(message)

    return FakeSource("broken", look)


def sampled(
    clock: VirtualClock,
    *sources: FakeSource,
    seconds: float = 2.2,
    interval_s: float = 0.5,
    on_sample: Callable[[Sample], None] | None = None,
    sink_path: Path | None = None,
) -> list[Sample]:
    """The timeline of some virtual seconds."""

    async def main() -> list[Sample]:
        sampler = Sampler(sources, clock, interval_s, on_sample, sink_path)
        async with sampler:
            await clock.sleep(seconds)
        assert len(asyncio.all_tasks()) == 1
        return sampler.timeline

    return clock.run(main())


def seconds_of(timeline: list[Sample]) -> list[float]:
    """When samples were taken."""
    return [sample.at_ns / 1e9 for sample in timeline]


def test_the_interval_is_kept() -> None:
    """One sample at once, one per interval, one at the end."""
    timeline = sampled(VirtualClock(), good())
    assert seconds_of(timeline) == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.2], abs=1e-6)
    assert {sample.values["good"] for sample in timeline} == {1.0}


def test_only_declared_keys_and_all_of_them() -> None:
    """A sample has every source's keys, and nothing that a source did not declare."""
    timeline = sampled(VirtualClock(), good("a"), good("b"), broken())
    assert {tuple(sample.values) for sample in timeline} == {("a", "b", "broken")}


def test_a_source_that_raises_gives_none() -> None:
    """Its keys are None, it is asked again, and the others are read."""
    source = broken()
    timeline = sampled(VirtualClock(), source, good())
    assert {sample.values["broken"] for sample in timeline} == {None}
    assert {sample.values["good"] for sample in timeline} == {1.0}
    assert source.looks == len(timeline)


def test_a_source_that_takes_a_little_is_waited_for() -> None:
    """Within its share of the interval a source is in time, and the interval is kept."""
    clock = VirtualClock()
    timeline = sampled(clock, slow(clock, 0.3), good(), seconds=2.45)
    assert {sample.values["slow"] for sample in timeline} == {2.0}
    assert seconds_of(timeline)[:5] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0], abs=1e-6)


def test_a_slow_source_holds_nobody_up() -> None:
    """Its keys are None, the others are read on time, and it is asked once at a time."""
    clock = VirtualClock()
    source = slow(clock, 1.2)
    timeline = sampled(clock, source, good(), seconds=5.45)
    assert {sample.values["slow"] for sample in timeline} == {None}
    assert {sample.values["good"] for sample in timeline} == {1.0}
    assert seconds_of(timeline)[:11] == pytest.approx([i / 2 for i in range(11)], abs=1e-6)
    assert source.most == 1
    assert source.looks >= 3


def test_a_source_that_hangs_does_not_hold_up_the_end() -> None:
    """The end of the sampling waits less than an interval for it."""
    clock = VirtualClock()
    timeline = sampled(clock, slow(clock, 1e6), good(), seconds=1.0)
    assert timeline[-1].values == {"slow": None, "good": 1.0}
    assert clock.now_ns() < ns_from_s(1.5)


def test_a_source_that_recovers_is_read_again() -> None:
    """A late answer is dropped, and the next look counts."""
    clock = VirtualClock()
    waits = iter([0.7, *[0.0] * 50])

    async def look() -> float:
        await clock.sleep(next(waits))
        return float(clock.now_ns())

    timeline = sampled(clock, FakeSource("x", look))
    assert [sample.values["x"] is None for sample in timeline[:3]] == [True, True, False]
    value = timeline[2].values["x"]
    assert value is not None
    assert value >= timeline[2].at_ns


def test_everybody_is_told() -> None:
    """Each sample is shown as it is taken."""
    seen: list[Sample] = []
    timeline = sampled(VirtualClock(), good(), on_sample=seen.append)
    assert seen == timeline
    assert seen


def test_what_an_onlooker_raises_comes_out() -> None:
    """A bug in the onlooker is not swallowed."""

    def fail(_sample: Sample) -> None:
        message = "a bug"
        raise LookupError(message)

    with pytest.raises(LookupError, match="a bug"):
        sampled(VirtualClock(), good(), on_sample=fail)


def test_samples_are_on_disk(tmp_path: Path) -> None:
    """One JSON object per sample, None as null, in a folder that is made for it."""
    path = tmp_path / "trials" / "telemetry.jsonl"
    timeline = sampled(VirtualClock(), good(), broken(), sink_path=path)
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert lines == [{"at_ns": sample.at_ns, **sample.values} for sample in timeline]
    assert lines[0]["broken"] is None


def test_a_full_disk_ends_the_writing_only() -> None:
    """Samples are taken and shown though they cannot be written."""
    timeline = sampled(VirtualClock(), good(), sink_path=Path("/dev/full"))
    assert len(timeline) == 6


def test_a_sink_that_cannot_be_opened(tmp_path: Path) -> None:
    """The same holds for a file that cannot be made."""
    (tmp_path / "file").write_text("")
    timeline = sampled(VirtualClock(), good(), sink_path=tmp_path / "file" / "x.jsonl")
    assert len(timeline) == 6


def test_an_error_inside_comes_out_and_ends_the_sampling() -> None:
    """The sampler ends with its block, whatever ends that."""
    clock = VirtualClock()

    async def main() -> None:
        with pytest.raises(LookupError):
            async with Sampler([good()], clock, 0.5) as sampler:
                raise LookupError
        assert sampler.timeline
        assert len(asyncio.all_tasks()) == 1

    clock.run(main())


def test_a_busy_loop_skips_samples_and_keeps_the_beat() -> None:
    """After a stall the next sample is at the next full interval, not a burst of missed ones."""
    clock = VirtualClock()

    async def main() -> list[Sample]:
        async with Sampler([good()], clock, 0.5) as sampler:
            await clock.sleep(0.6)
            clock.advance(1.1)  # the loop was held up until 1.7
            await clock.sleep(0.6)
        return sampler.timeline

    assert seconds_of(clock.run(main())) == pytest.approx([0.0, 0.5, 1.7, 2.0, 2.3], abs=1e-6)
