"""Heat, brakes and neighbours: seen on the timeline, and the probe is repeated."""

from collections.abc import Sequence

import pytest

from autotune.clock import VirtualClock
from autotune.probes.asking import Asker
from autotune.probes.base import BaseProbe, Findings
from autotune.probes.correctness import CorrectnessProbe
from autotune.probes.disturbance import disturbance
from autotune.probes.throughput import ThroughputProbe
from autotune.records import ProbeStatus
from autotune.seams.probe import ProbeContext
from autotune.seams.telemetry import Sample
from tests.unit.probes.serving import MS, SMALL, Server, ask, context

S = 1000 * MS


def timeline(key: str, values: Sequence[float | None]) -> list[Sample]:
    """One sample per second."""
    return [Sample(at_ns=i * S, values={key: value}) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (0x08, "by its hardware"),
        (0x20, "by the driver for its heat"),
        (0x40, "by its hardware for its heat"),
        (0x80, "power brake"),
        (0x04 | 0x20, "heat"),
    ],
)
def test_a_card_that_is_slowed_down_is_disturbed(reason: int, words: str) -> None:
    """NVML's reasons other than idleness, a chosen clock and the power cap."""
    found = disturbance(timeline("gpu_throttle_reasons", [0, 0, reason, reason]), 1 * S, 3 * S)

    assert found is not None
    assert words in found
    assert "67%" in found


@pytest.mark.parametrize("reason", [0x00, 0x01, 0x02, 0x04, 0x10, 0x100])
def test_a_steady_state_is_no_disturbance(reason: int) -> None:
    """A power cap holds all through a load and is the card's own speed."""
    assert disturbance(timeline("gpu_throttle_reasons", [reason] * 9), 0, 9 * S) is None


def test_a_moment_is_no_disturbance() -> None:
    """One sample of twenty."""
    assert disturbance(timeline("gpu_throttle_reasons", [0x40] + [0] * 19), 0, 20 * S) is None


def test_a_process_that_comes_onto_the_card_is_seen_and_one_that_was_there_is_not() -> None:
    """A desktop is on the card all the time; a neighbour comes."""
    key = "gpu_other_processes_count"
    found = disturbance(timeline(key, [1, 1, 2, 2]), 2 * S, 3 * S)

    assert found is not None
    assert "another process" in found
    assert disturbance(timeline(key, [1, 1, 1, 1]), 2 * S, 3 * S) is None


def test_what_is_not_measured_is_no_disturbance() -> None:
    """A machine without NVML."""
    assert disturbance([], 0, S) is None
    assert disturbance(timeline("gpu_throttle_reasons", [None, None]), 0, S) is None


class Watched:
    """A timeline that grows while the probe asks: hot during the first so many asks."""

    def __init__(self, hot_asks: int) -> None:
        self.samples: list[Sample] = []
        self._hot_asks = hot_asks

    def probe(self) -> BaseProbe:
        """A probe that takes a second."""
        watched = self

        class OneSecond(BaseProbe):
            name = "ttft"
            test = 2
            metrics = ("ttft_short_ns",)
            asked = 0

            async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
                self.asked += 1
                reason = 0x40 if self.asked <= watched._hot_asks else 0
                for _ in range(10):
                    await context.clock.sleep(0.1)
                    watched.samples.append(
                        Sample(
                            at_ns=context.clock.now_ns(), values={"gpu_throttle_reasons": reason}
                        )
                    )
                return Findings(metrics={"ttft_short_ns": float(self.asked)})

        return OneSecond()


@pytest.mark.parametrize(
    ("hot_asks", "figure", "words"),
    [(0, 1.0, ""), (1, 2.0, "repeated, for it was disturbed"), (9, 2.0, "again when it was")],
)
def test_a_disturbed_probe_is_repeated_once_and_says_so(
    hot_asks: int, figure: float, words: str
) -> None:
    """The figures are the repetition's; a disturbance that stays is marked."""
    clock = VirtualClock()
    watched = Watched(hot_asks)
    given = context(Server(clock), timeline=watched.samples)
    result = clock.run(watched.probe().run(given))

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["ttft_short_ns"] == figure
    assert [words in note for note in result.notes] == [True] * bool(words)


def test_a_probe_without_the_time_for_a_repetition_is_marked() -> None:
    """A second of the two that it has: the figures stay, and the note says why."""
    clock = VirtualClock()
    watched = Watched(1)
    workload = SMALL.model_copy(update={"probe_timeout_s": 2.0})
    given = context(Server(clock), timeline=watched.samples, workload=workload)
    result = clock.run(watched.probe().run(given))

    assert result.metrics["ttft_short_ns"] == 1.0
    assert "too long to be repeated" in result.notes[0]


def test_a_repetition_has_prompts_that_no_cache_holds() -> None:
    """Hot all the time: everything is sent twice, with no common prefix."""
    hot = [Sample(at_ns=i * MS, values={"gpu_throttle_reasons": 0x40}) for i in range(100_000)]
    result, server = ask(ThroughputProbe(), timeline=hot)
    firsts = [request.prompt.segments[0] for request in server.asked]

    assert len(firsts) == result.requests_sent == 2 * (2 * SMALL.warmup_requests + SMALL.requests)
    assert len(set(firsts)) == len(firsts)


def test_answers_are_not_asked_for_again() -> None:
    """Heat changes no log-probability, and the baseline's prompts must stay the same."""
    assert not CorrectnessProbe.is_timed


def test_percentiles_have_an_interval_where_there_are_values_enough() -> None:
    """Of 40 requests the median of the TTFT lies within; 40 are too few for a 99th percentile."""
    workload = SMALL.model_copy(update={"requests": 40})
    result, _ = ask(ThroughputProbe(), workload=workload)
    low, high = result.intervals["ttft_loaded_p50_ns"]

    assert result.metrics["ttft_loaded_p50_ns"] is not None
    assert low <= result.metrics["ttft_loaded_p50_ns"] <= high
    assert "ttft_loaded_p99_ns" not in result.intervals
    assert "itl_p50_ns" in result.intervals
