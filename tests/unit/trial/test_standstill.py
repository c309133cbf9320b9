"""A trial in which autotune itself stood still says nothing about the configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autotune.clock import VirtualClock
from autotune.records import Failure, FailureKind, OutcomeStatus
from autotune.seams.probe import ProbeContext
from autotune.seams.telemetry import Sample
from autotune.trial.standstill import overruled, standstill
from tests.support.fakes import FakeProbe, Script
from tests.unit.trial.test_lifecycle import Bench, bench, failure_of

S = 10**9


class LaptopClock(VirtualClock):
    """One whose machine can be suspended: its own time stands still meanwhile."""

    asleep_ns = 0

    def suspended_ns(self) -> int:
        """As told."""
        return self.asleep_ns


@dataclass
class Stopping(FakeProbe):
    """Everything stands still for so long in the middle of this probe, as after SIGSTOP."""

    stopped_s: float = 0.0
    asleep_s: float = 0.0

    async def run(self, context: ProbeContext) -> Any:
        """Time goes on, and no task had a turn."""
        await context.clock.sleep(1.0)
        clock: Any = context.clock
        clock.advance(self.stopped_s)
        clock.asleep_ns = int(self.asleep_s * S)
        return await super().run(context)


def laptop(tmp_path: Path, probe: Stopping) -> Bench:
    """A bench on a clock of that kind."""
    made = bench(tmp_path, probes=(probe, FakeProbe("long_context", result={"ttft_8k_ns": 1e9})))
    made.clock.__class__ = LaptopClock
    return made


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (Stopping("ttft", stopped_s=30), "autotune stood still for 30 s"),
        (Stopping("ttft", stopped_s=500), "autotune stood still for 500 s"),
        (Stopping("ttft", asleep_s=3600), "the machine was suspended for 3600 s"),
    ],
)
def test_a_pause_spoils_a_trial_and_blames_nobody(
    tmp_path: Path, probe: Stopping, says: str
) -> None:
    """Whether its waits were over or not: it failed, and may be run again."""
    record = laptop(tmp_path, probe).run()
    assert record.outcome.status is OutcomeStatus.FAILED
    assert failure_of(record).kind is FailureKind.CLIENT_BOUND
    assert failure_of(record).message.startswith(says)


def test_a_short_pause_is_left_to_whoever_measures(tmp_path: Path) -> None:
    """The load generator knows of its own delays."""
    record = laptop(tmp_path, Stopping("ttft", stopped_s=3, asleep_s=0.5)).run()
    assert record.outcome.status is OutcomeStatus.MEASURED


def test_a_pause_during_a_start_does_not_make_it_too_slow(tmp_path: Path) -> None:
    """A server that would be healthy after 10 s, in 60 s allowed of which all are slept away."""
    made: list[Bench] = []
    pauses = [100.0]

    def stop_once(age_s: float) -> None:
        if age_s > 2 and pauses:
            made[0].clock.advance(pauses.pop())

    made.append(bench(tmp_path, Script(memory=stop_once)))
    record = made[0].run()
    assert not pauses
    assert record.outcome.status is OutcomeStatus.FAILED
    assert failure_of(record).kind is FailureKind.CLIENT_BOUND
    assert "stood still for 100 s" in failure_of(record).message


def test_a_death_keeps_its_name_whatever_else_happened() -> None:
    """What has a cause of its own is not explained by a pause."""
    death = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="out of memory")
    assert overruled(death, "a pause", "starting") is death
    late = Failure(kind=FailureKind.START_TIMEOUT, phase="starting", message="not healthy")
    named = overruled(late, "a pause", "starting")
    assert named is not None
    assert named.kind is FailureKind.CLIENT_BOUND
    assert named.evidence == ("start_timeout: not healthy",)
    assert overruled(late, None, "starting") is late
    assert overruled(None, None, "starting") is None


def test_the_longest_gap_beyond_the_interval_counts() -> None:
    """Samples at 0, 10, 20 and 39 s, asked for each 10 s: 9 s late is none, 11 s is."""
    at = [Sample(at_ns=t * S, values={}) for t in (0, 10, 20, 39)]
    assert standstill(at, 10.0, 0) is None
    assert standstill([*at, Sample(at_ns=60 * S, values={})], 10.0, 0) is not None
    assert standstill([], 10.0, 0) is None
