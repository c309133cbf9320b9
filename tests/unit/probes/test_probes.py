"""What every probe keeps to, and probes 1 to 4 and 6 on a server of known pace."""

import pytest

from autotune.clock import VirtualClock
from autotune.load.runner import InProcessLoad
from autotune.metrics import METRICS
from autotune.probes import PROBES
from autotune.probes.long_context import LongContextProbe
from autotune.probes.memory import MemoryProbe
from autotune.probes.startup import StartupProbe
from autotune.probes.throughput import ThroughputProbe
from autotune.probes.ttft import TtftProbe
from autotune.records import Applied, FailureKind, ProbeResult, ProbeStatus
from autotune.seams.probe import Readiness
from autotune.seams.requests import RequestErrorKind
from autotune.seams.telemetry import Sample
from tests.unit.probes.serving import MS, SMALL, BoundLoad, RankedLoad, Server, ask, context

ASKING = ["ttft", "throughput", "long_context", "prefix_cache", "capacity"]
LIMITED = Applied(kv_cache_tokens=12_000, max_model_len_tokens=9000)


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_gives_the_metrics_that_are_declared_for_it(name: str) -> None:
    """Tags in the declarations and in the probe are the same set."""
    probe = PROBES[name]()

    assert probe.name == name
    assert set(probe.metrics) == {tag for tag, m in METRICS.items() if m.probe == name}


def test_tests_one_to_six_are_there_and_memory_is_last() -> None:
    """The fixed matrix's numbers, each once."""
    tests = [make().test for make in PROBES.values()]

    assert sorted(t for t in tests if t is not None) == [1, 2, 3, 4, 5, 6]
    assert next(reversed(PROBES)) == "memory"


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_failed_request_spoils_the_probe(name: str, first: int) -> None:
    """One bad answer, early or late: FAILED, counted by kind, and no figure."""
    result, _ = ask(
        PROBES[name](), lambda clock: Server(clock, faults={first: RequestErrorKind.CUT_OFF})
    )
    figures = {t: v for t, v in result.metrics.items() if t != "failed_requests_count"}

    assert result.status is ProbeStatus.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.REQUESTS_FAILED
    assert result.failure.phase == f"probe:{name}"
    assert set(figures.values()) == {None}
    assert result.requests_failed == {"cut_off": 1}
    assert "cut_off: as scripted" in result.failure.evidence


@pytest.mark.parametrize("name", ASKING)
def test_a_server_that_dies_is_told_from_one_that_fails(name: str) -> None:
    """Nobody answers /health: died under load."""
    result, _ = ask(PROBES[name](), lambda clock: Server(clock, dies_after=2))

    assert result.failure is not None
    assert result.failure.kind is FailureKind.DIED_UNDER_LOAD


@pytest.mark.parametrize("name", ASKING)
def test_a_server_that_hangs_is_named(name: str) -> None:
    """Every request times out while /health answers: hung."""
    result, server = ask(PROBES[name](), lambda clock: Server(clock, hangs=True))

    assert result.failure is not None
    assert result.failure.kind is FailureKind.HUNG
    assert server.clock.now_ns() <= SMALL.probe_timeout_s * 1.01e9


@pytest.mark.parametrize("name", ["throughput", "capacity"])
def test_a_load_that_the_client_set_is_not_reported(name: str) -> None:
    """Client-bound twice: FAILED as the client's fault and without a figure."""
    result = asked_by_a_slow_client(name, times=99)
    figures = {t: v for t, v in result.metrics.items() if t != "failed_requests_count"}

    assert result.failure is not None
    assert result.failure.kind is FailureKind.CLIENT_BOUND
    assert set(figures.values()) == {None}


@pytest.mark.parametrize("name", ["throughput", "capacity"])
def test_a_client_that_keeps_up_at_the_second_attempt_is_believed(name: str) -> None:
    """Client-bound once: measured again, with other prompts."""
    result = asked_by_a_slow_client(name, times=1)

    assert result.status is ProbeStatus.MEASURED
    assert result.failure is None


def test_a_load_of_which_every_request_failed_is_the_servers_fault() -> None:
    """However busy the client was with failures that come at once."""
    result = asked_by_a_slow_client("throughput", times=99, fault=RequestErrorKind.MALFORMED)

    assert result.failure is not None
    assert result.failure.kind is FailureKind.REQUESTS_FAILED
    assert result.requests_failed == {"malformed": SMALL.requests}


def test_a_load_that_timed_out_may_be_the_clients_fault() -> None:
    """It is late, and says so."""
    result = asked_by_a_slow_client("throughput", times=99, fault=RequestErrorKind.TIMEOUT)

    assert result.failure is not None
    assert result.failure.kind is FailureKind.CLIENT_BOUND


def asked_by_a_slow_client(
    name: str, *, times: int, fault: RequestErrorKind | None = None
) -> ProbeResult:
    """The result of a probe whose load generator says `times` times that it was too slow.

    Args:
        name: Of the probe.
        times: Loads that it says it of.
        fault: How every request fails, with no warm-up before them; None for not at all.
    """
    clock = VirtualClock()
    server = Server(clock, faults={} if fault is None else dict.fromkeys(range(100), fault))
    workload = SMALL if fault is None else SMALL.model_copy(update={"warmup_requests": 0})
    load = BoundLoad(InProcessLoad(server, clock), range(times))
    return clock.run(PROBES[name]().run(context(server, load=load, workload=workload)))


@pytest.mark.parametrize("name", ASKING)
def test_no_two_prompts_share_a_prefix_by_accident(name: str) -> None:
    """First segments repeat only where the prefix probe asks for it."""
    _, server = ask(PROBES[name](), applied=Applied(kv_cache_tokens=40_000))
    firsts = [r.prompt.segments[0] for r in server.asked if r.prompt.segments]
    repeated = len(firsts) - len(set(firsts))

    if name == "prefix_cache":
        assert repeated == len(firsts) / 2 > 0
    else:
        assert repeated == 0


def test_probes_share_no_prompt_with_each_other() -> None:
    """The same study seed gives each probe prompts of its own."""
    seen: dict[object, str] = {}
    for name in ASKING:
        _, server = ask(PROBES[name]())
        for segment in {s for r in server.asked for s in r.prompt.segments}:
            assert seen.setdefault(segment, name) == name


def test_startup_reads_what_the_start_left() -> None:
    """Time to health, the log's milestones, and what the server holds; nothing is asked."""
    ready = Readiness(started_ns=5, healthy_ns=65, milestones={"startup_weights_ns": 20})
    result, server = ask(StartupProbe(), readiness=ready, applied=LIMITED)

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["startup_ns"] == 60
    assert result.metrics["startup_weights_ns"] == 20
    assert result.metrics["startup_compile_ns"] is None
    assert result.metrics["context_capacity_tokens"] == 12_000
    assert result.metrics["max_model_len_tokens"] == 9000
    assert server.asked == []


def test_the_start_of_a_server_that_ran_already_is_not_zero() -> None:
    """Not seen is None; with nothing else known the probe is skipped."""
    result, _ = ask(StartupProbe(), applied=LIMITED)
    assert result.metrics["startup_ns"] is None
    assert result.status is ProbeStatus.MEASURED

    result, _ = ask(StartupProbe())
    assert result.status is ProbeStatus.SKIPPED
    assert "already" in result.reason


def test_ttft_of_a_short_chat() -> None:
    """Ten tokens take 1 ms, then one token every 10 ms; the first request is a warm-up."""
    result, server = ask(TtftProbe())

    assert result.metrics["ttft_short_ns"] == pytest.approx(1 * MS, abs=10)
    assert result.metrics["ttft_short_p95_ns"] == pytest.approx(1 * MS, abs=10)
    assert result.metrics["itl_single_ns"] == 10 * MS
    assert len(server.asked) == SMALL.ttft_repeats + 1
    assert all(r.prompt.chat and r.max_tokens == 100 for r in server.asked)
    assert len(result.samples["ttft_short_ns"]) == SMALL.ttft_repeats


def test_a_model_without_a_chat_template_is_asked_plainly() -> None:
    """A refused chat is no failure of the server: the same question goes out as text."""
    result, server = ask(TtftProbe(), lambda clock: Server(clock, refuses_chat=True))

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["ttft_short_ns"] is not None
    assert "refuses chat" in result.notes[0]
    assert result.requests_failed == {}
    assert sum(r.prompt.chat for r in server.asked) == 1


def test_throughput_of_a_closed_loop() -> None:
    """Four streams, 10 ms to read and 100 ms to write 11 tokens: two waves of 110 ms."""
    result, server = ask(ThroughputProbe())
    m = result.metrics

    assert m["output_tokens_per_s"] == pytest.approx(4 * 11 / 0.110, rel=0.02)
    assert m["requests_per_s"] == pytest.approx(4 / 0.110, rel=0.02)
    assert m["total_tokens_per_s"] == pytest.approx(4 * 111 / 0.110, rel=0.02)
    assert m["ttft_loaded_p50_ns"] == pytest.approx(10 * MS, abs=10)
    assert m["itl_p99_ns"] == 10 * MS
    assert m["tpot_p50_ns"] == pytest.approx(10 * MS, rel=1e-3)
    assert m["e2e_p99_ns"] == pytest.approx(110 * MS, rel=1e-3)
    assert m["failed_requests_count"] == 0
    assert m["preemptions_count"] == 0
    assert m["kv_usage_peak_ratio"] is None
    assert m["joules_per_output_token"] is None
    # Two rounds of warm-up, for the second takes as long as the first.
    assert len(server.asked) == 2 * SMALL.warmup_requests + SMALL.requests


@pytest.mark.parametrize("is_realtime", [True, False])
def test_a_load_without_real_time_priority_is_noted(*, is_realtime: bool) -> None:
    """On few cores its stamps are late, and whoever reads the figures should know."""

    async def run(clock: VirtualClock) -> ProbeResult:
        server = Server(clock)
        load = RankedLoad(InProcessLoad(server, clock), is_realtime=is_realtime)
        return await ThroughputProbe().run(context(server, load=load))

    clock = VirtualClock()
    notes = " ".join(clock.run(run(clock)).notes)
    assert ("no real-time priority" in notes) is not is_realtime


def test_energy_and_kv_use_come_from_the_timeline() -> None:
    """A card of 50 W over the window, divided by the tokens; the KV peak within the load only."""
    timeline = [
        Sample(
            at_ns=i * 10 * MS,
            values={"gpu_energy_j": 1000 + 0.5 * i, "kv_usage_ratio": 0.9 if i > 200 else 0.3},
        )
        for i in range(400)
    ]
    result, _ = ask(ThroughputProbe(), timeline=timeline)
    rate = result.metrics["output_tokens_per_s"]

    assert rate is not None
    assert result.metrics["joules_per_output_token"] == pytest.approx(50 / rate, rel=0.01)
    assert result.metrics["kv_usage_peak_ratio"] == 0.3


def test_an_open_loop_is_measured_at_its_rate() -> None:
    """A constant 20 requests/s is what comes out."""
    workload = SMALL.model_copy(
        update={"arrival": "constant", "rate_requests_per_s": 20.0, "requests": 41}
    )
    result, _ = ask(ThroughputProbe(), workload=workload)

    assert result.metrics["requests_per_s"] == pytest.approx(20, rel=0.08)


def test_a_rate_that_is_missing_skips_the_probe() -> None:
    """An open loop without a rate cannot be sent."""
    workload = SMALL.model_copy(update={"arrival": "poisson"})
    result, _ = ask(ThroughputProbe(), workload=workload)

    assert result.status is ProbeStatus.SKIPPED
    assert "rate_requests_per_s" in result.reason


@pytest.mark.parametrize("name", ["throughput", "capacity"])
def test_a_load_that_does_not_fit_is_skipped(name: str) -> None:
    """Requests longer than the deployment holds are not sent."""
    result, server = ask(PROBES[name](), applied=Applied(max_model_len_tokens=110))

    assert result.status is ProbeStatus.SKIPPED
    assert "110" in result.reason
    assert server.asked == []


def test_long_context_up_to_what_is_held() -> None:
    """8K fits in 9000, the others are left out with a reason and no figure."""
    result, server = ask(LongContextProbe(), applied=LIMITED)
    m = result.metrics

    assert m["ttft_8k_ns"] == pytest.approx(819.2 * MS, rel=1e-6)
    assert m["prefill_8k_tokens_per_s"] == pytest.approx(10_000, rel=1e-6)
    assert m["decode_8k_tokens_per_s"] == pytest.approx(100, rel=1e-6)
    assert m["longest_prompt_tokens"] == 8192
    assert m["ttft_16k_ns"] is None
    assert m["ttft_32k_ns"] is None
    assert len(result.notes) == 2
    assert len(server.asked) == 1 + SMALL.long_context_repeats


def test_a_rung_that_just_fits_leaves_room_for_the_answer() -> None:
    """Where the longest request is exactly 8K, the prompt is 8K less its answer, and says so."""
    result, server = ask(LongContextProbe(), applied=Applied(max_model_len_tokens=8192))

    assert result.metrics["longest_prompt_tokens"] == 8192 - SMALL.long_context_output_tokens
    assert {8192} == {(r.prompt.tokens or 0) + r.max_tokens for r in server.asked}
    assert any("8192" in note for note in result.notes)


def test_nothing_that_fits_skips_the_long_context() -> None:
    """A deployment shorter than every rung is no failure."""
    result, _ = ask(LongContextProbe(), applied=Applied(max_model_len_tokens=4096))

    assert result.status is ProbeStatus.SKIPPED
    assert "4096" in result.reason


def test_rungs_without_a_tag_are_noted() -> None:
    """A study's own lengths are measured; what has no declared metric is told in words."""
    workload = SMALL.model_copy(update={"long_context_tokens": (2048, 8192)})
    result, _ = ask(LongContextProbe(), workload=workload)

    assert result.metrics["ttft_8k_ns"] is not None
    assert any(note.startswith("ttft_2k_ns") for note in result.notes)


def test_memory_peaks_over_the_trial_and_steady_while_serving() -> None:
    """The start counts for peaks; steady is the median since health; what is missing is None."""
    values = [(0, 9.0), (10, 5.0), (20, 4.0), (30, 6.0)]
    timeline = [
        Sample(at_ns=t, values={"gpu_memory_used_bytes": v, "gpu_power_w": 10 * v, "x": None})
        for t, v in values
    ]
    result, server = ask(
        MemoryProbe(), timeline=timeline, readiness=Readiness(started_ns=0, healthy_ns=10)
    )

    assert result.metrics["gpu_memory_peak_bytes"] == 9.0
    assert result.metrics["gpu_memory_steady_bytes"] == 5.0
    assert result.metrics["gpu_power_mean_w"] == 50.0
    assert result.metrics["host_memory_peak_bytes"] is None
    assert server.asked == []


def test_memory_without_telemetry_is_skipped() -> None:
    """No sample is not zero bytes."""
    assert ask(MemoryProbe())[0].status is ProbeStatus.SKIPPED
